"""The choices of each configuration group, with what their files say of them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

from residual_ssl.errors import ConfigError, MissingDataError

#: Names of the groups as a command takes them, with their folders.
GROUPS = {
    "algorithms": "algorithm",
    "selectors": "selector",
    "datasets": "dataset",
    "models": "model",
    "experiments": "experiment",
    "optimizers": "optimizer",
    "losses": "loss",
}


def choices(group: str, *, config_dir: str | Path | None = None) -> dict[str, str]:
    """Each choice of a group with the comment at the top of its file.

    Args:
        group: a key of :data:`GROUPS`.
        config_dir: folder with further choices, which win over those of the same name.

    Raises:
        ConfigError: another group.
        MissingDataError: ``config_dir`` is not a folder.

    Example:
        >>> choices("optimizers")["adamw"][:5]
        'AdamW'
    """
    from residual_ssl import configs

    if group not in GROUPS:
        raise ConfigError(f"group: got {group!r}, expected one of {', '.join(GROUPS)}")
    if config_dir is not None and not Path(config_dir).is_dir():
        raise MissingDataError(f"config_dir: {config_dir} is not a folder")
    folders = [Path(configs.__path__[0]), *([] if config_dir is None else [Path(config_dir)])]
    files = {path.stem: path for folder in folders for path in sorted((folder / GROUPS[group]).glob("*.yaml"))}
    return {name: " ".join(_comment(files[name])) for name in sorted(files)}


def _comment(path: Path) -> Iterator[str]:
    """The lines of the comment that a file begins with."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            return
        if not line.startswith("# @package"):
            yield line.lstrip("# ").strip()


def choices_text(group: str, found: dict[str, str], *, long: bool = False, width: int = 100) -> str:
    """The names of a group's choices, one a line; with the first sentence, or all, of what is said of each.

    Args:
        group: as of :func:`choices`.
        found: its choices.
        long: the whole comments, wrapped, under the names.
        width: of the console, in characters.
    """
    if long:
        return "\n".join(f"{GROUPS[group]}={name}\n{_indented(text, width)}" for name, text in found.items())
    widest = max(map(len, found), default=0)
    return "\n".join(f"{name:<{widest}}  {_shortened(text, width - widest - 2)}" for name, text in found.items())


def _indented(text: str, width: int) -> str:
    return textwrap.fill(text, width, initial_indent="    ", subsequent_indent="    ")


def _shortened(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(width - 2, 1)].rsplit(' ', 1)[0]} …"
