"""Configurations from named choices and overrides; the one place that knows Hydra."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from residual_ssl.errors import ConfigError, MissingDataError

_GROUPS = "residual_ssl.configs"

# Hydra reads 1_16 as the number 116; the published splits are called 1_16.
_SPLIT_NAME = re.compile(r"(\+*dataset\.split=)(\d+(?:_\d+)+)$")


def compose(overrides: Sequence[str] = (), *, config_dir: str | Path | None = None) -> dict[str, Any]:
    """The full configuration of a run as plain values, for :func:`residual_ssl.train`.

    Args:
        overrides: in Hydra's syntax: ``"algorithm=csl"`` chooses from a group, ``"steps=600"`` sets a value.
        config_dir: folder with further choices, laid out as the library's own (``dataset/mine.yaml``).

    Raises:
        ConfigError: a choice or a key that does not exist, or a value that has to be given and was not; all of the
            latter are listed.
        MissingDataError: ``config_dir`` is not a folder.

    Example:
        >>> config = compose(["algorithm=fixmatch", "run_dir=runs/try", "steps=10"])
        >>> config["steps"], config["algorithm"]["selector"]["threshold"]
        (10, 0.95)
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_module
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    overrides = [_SPLIT_NAME.sub(r"\1'\2'", override) for override in overrides]
    overrides += _replaced_length(overrides)
    if config_dir is not None:
        folder = Path(config_dir)
        if not folder.is_dir():
            raise MissingDataError(f"config_dir: got {config_dir}, no such folder")
        overrides.append(f"hydra.searchpath=[file://{folder.resolve()}]")
    GlobalHydra.instance().clear()
    try:
        with initialize_config_module(_GROUPS, version_base="1.3"):
            composed = hydra_compose("train", overrides=overrides, return_hydra_config=True)
        choices = dict(composed.hydra.runtime.choices)
        composed = OmegaConf.masked_copy(composed, [key for key in composed if key != "hydra"])
        missing = _missing(OmegaConf.to_container(composed, resolve=False))
        if missing:
            raise ConfigError("\n".join(f"{key}: has no default; give it, {key}=VALUE" for key in missing))
        plain: dict[str, Any] = OmegaConf.to_container(composed, resolve=True)  # type: ignore[assignment]
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_one_line(error)) from error
    if plain["run_dir"] is None:
        names = [choices["algorithm"], *([choices["selector"]] if plain["algorithm"].get("selector") else [])]
        plain["run_dir"] = "/".join(["runs", choices["dataset"], "-".join([*names, str(plain["seed"])])])
    # Building blocks that the settings refer to by interpolation; the settings hold them now.
    for group in ("dataset", "model", "selector", "loss"):
        plain.pop(group, None)
    return plain


def _replaced_length(overrides: Sequence[str]) -> list[str]:
    """A run is as long as ``steps`` or ``epochs`` say: giving one takes back a default of the other."""
    given = [name for name in ("steps", "epochs") if any(o.startswith(f"{name}=") for o in overrides)]
    return [f"{'epochs' if given == ['steps'] else 'steps'}=null"] if len(given) == 1 else []


def _missing(config: Any, place: str = "") -> list[str]:
    """Keys whose value is Hydra's mark for "to be given"."""
    if config == "???":
        return [place]
    items: Any = config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else ()
    return [key for name, value in items for key in _missing(value, f"{place}.{name}".lstrip("."))]


def _one_line(error: Exception) -> str:
    """Hydra's message without its hints for Hydra's authors, with the nearest names of ours."""
    text = str(error)
    if override := re.search(r"Could not override '([^']+)'", text):
        key = override.group(1)
        close = difflib.get_close_matches(key, _keys(), 1)
        return f"{key}: no such key" + (f"; did you mean {close[0]!r}?" if close else f"; keys: {', '.join(_keys())}")
    if choice := re.search(r"Could not find '([^']+)'", text):
        group, _, name = choice.group(1).rpartition("/")
        options = getattr(error, "options", None) or ["the files of that group"]
        return f"{group}: got {name!r}, expected one of {', '.join(sorted(options))}"
    return next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)


def _keys() -> list[str]:
    from residual_ssl.engine.settings import Settings

    return [*Settings.__dataclass_fields__, "dataset", "model", "selector", "loss", "experiment"]
