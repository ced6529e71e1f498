"""The choices of each configuration group, with what their files say of them."""

from __future__ import annotations

import textwrap
from pathlib import Path

from residual_ssl.config.choice_folders import choice_folders
from residual_ssl.config.yaml_comments import file_comment
from residual_ssl.errors import ConfigError

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
        config_dir: folder with further choices.

    Raises:
        ConfigError: another group.
        MissingDataError: ``config_dir`` is not a folder.

    Example:
        >>> choices("optimizers")["adamw"][:5]
        'AdamW'
    """
    if group not in GROUPS:
        raise ConfigError(f"group: got {group!r}, expected one of {', '.join(GROUPS)}")
    return group_choices(GROUPS[group], config_dir=config_dir)


def group_choices(folder: str, *, config_dir: str | Path | None = None) -> dict[str, str]:
    """Each choice in a folder of choices with the comment at the top of its file; none of what is no such folder."""
    places = reversed(choice_folders(config_dir))
    files = {path.stem: path for place in places for path in (place / folder).glob("*.yaml")}
    return {name: file_comment(files[name]) for name in sorted(files)}


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
    return names_text(found, width)


def names_text(found: dict[str, str], width: int = 100) -> str:
    """Names, one a line, with as much of what is said of each as the line holds."""
    widest = max(map(len, found), default=0)
    return "\n".join(f"{name:<{widest}}  {_shortened(text, width - widest - 2)}" for name, text in found.items())


def _indented(text: str, width: int) -> str:
    return textwrap.fill(text, width, initial_indent="    ", subsequent_indent="    ")


def _shortened(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(width - 2, 1)].rsplit(' ', 1)[0]} …"
