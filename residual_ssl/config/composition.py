"""Configurations from named choices and overrides; the one place that knows Hydra."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from residual_ssl.config.choice_folders import choice_folders
from residual_ssl.config.overrides import plain_overrides, quoted, unknown_key
from residual_ssl.errors import ConfigError, ResidualSSLError

_GROUPS = "residual_ssl.configs"
_ROOTS = ("root", "source_root", "pool", "images_root")
_DOMAINS = ("source", "target")  # keys that name the two, where a data set is a pair of domains

# `split=` is short for `dataset.split=`; and Hydra reads 1_16, a published split, as the number 116. What is of digits
# alone may be a number of samples.
_SPLIT = re.compile(r"(?:dataset\.)?split=([\w.-]+)$")


# Interpolations that read the environment or Hydra's own state.
_OUTSIDE = re.compile(r"\$\{\s*(oc\.env|hydra)\s*:")


def compose(overrides: Sequence[str] = (), *, config_dir: str | Path | None = None) -> dict[str, Any]:
    """The full configuration of a run as plain values, for :func:`residual_ssl.train`.

    Args:
        overrides: in Hydra's syntax: ``"algorithm=csl"`` chooses from a group, ``"steps=600"`` sets a value, and
            ``"split=1_16"`` is short for ``"dataset.split='1_16'"``.
        config_dir: folder with further choices, laid out as the library's own (``dataset/mine.yaml``).

    Raises:
        ConfigError: a choice that does not exist; all keys that do not exist; all values that have to be given and were
            not.
        MissingDataError: ``config_dir`` is not a folder.

    Example:
        >>> config = compose(["algorithm=fixmatch", "run_dir=runs/try", "steps=10"])
        >>> config["steps"], config["algorithm"]["selector"]["threshold"]
        (10, 0.95)
    """
    overrides = typed_overrides(overrides)
    plain, choices = _composed("train", overrides, config_dir)
    if plain["run_dir"] is None:
        names = [choices["algorithm"], *([choices["selector"]] if plain["algorithm"].get("selector") else [])]
        parts = [choices["dataset"], *([str(split)] if (split := plain["dataset"].get("split")) else [])]
        parts += ["-".join(str(plain[domain]) for domain in _DOMAINS)] if "target" in plain else []
        plain["run_dir"] = "/".join(["runs", *parts, "-".join([*names, str(plain["seed"])])])
    _make_roots_absolute(plain)
    # Building blocks that the settings refer to by interpolation; the settings hold them now.
    for group in ("dataset", "model", "selector", "loss", "mix", "peft", *_DOMAINS):
        plain.pop(group, None)
    return plain


def typed_overrides(overrides: Sequence[str]) -> list[str]:
    """Overrides in Hydra's grammar, of overrides as they were typed, with what they imply."""
    plain = plain_overrides(_SPLIT.sub(_split, override) for override in overrides)
    return plain + _replaced_length(plain)


def _make_roots_absolute(config: Any) -> None:
    """Replace folders of data that are there by their absolute paths: a run is used from other places, too."""
    if isinstance(config, list):
        for item in config:
            _make_roots_absolute(item)
    elif isinstance(config, dict):
        for key, value in config.items():
            if key in _ROOTS and isinstance(value, str) and Path(value).exists():
                config[key] = os.path.abspath(value)
            else:
                _make_roots_absolute(value)


def compose_choice(
    group: str, name: str, values: Sequence[str] = (), *, config_dir: str | Path | None = None
) -> dict[str, Any]:
    """One choice of a group by itself, as plain values for :func:`residual_ssl.config.components.build`.

    Args:
        group: folder of configurations, ``"selector"``.
        name: a choice of that group.
        values: keys of the choice to set or to add, ``"threshold=0.9"``, in Hydra's syntax.
        config_dir: as of :func:`compose`.

    Raises:
        ConfigError, MissingDataError: as :func:`compose`.

    Example:
        >>> compose_choice("selector", "fixed_threshold", ["threshold=0.9"])
        {'_target_': 'residual_ssl.FixedThreshold', 'threshold': 0.9}
    """
    folders = choice_folders(config_dir)
    names = sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml")})
    if name not in names:
        close = difflib.get_close_matches(name, names, 1, cutoff=0.5)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ConfigError(f"{group}: got {name!r}, expected one of {', '.join(names)}{hint}")
    overrides = plain_overrides([f"+{group}={name}", *(f"++{group}.{value}" for value in values)])
    plain: dict[str, Any] = _composed(None, overrides, config_dir)[0][group]
    return plain


def _split(override: re.Match[str]) -> str:
    value = override.group(1)
    return f"dataset.split={value}" if value.isdecimal() else f"dataset.split='{value}'"


def _composed(
    name: str | None, overrides: Sequence[str], config_dir: str | Path | None
) -> tuple[dict[str, Any], dict[str, str]]:
    """A configuration as plain values, and what was chosen from each group."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    composed = known_keys_composed(name, list(overrides), config_dir)
    choices = dict(composed.hydra.runtime.choices)
    composed = OmegaConf.masked_copy(composed, [key for key in composed if key not in ("hydra", "published")])
    raw = OmegaConf.to_container(composed, resolve=False)
    found = _resolvers(raw) or [f"{key}: has no default; give it, {key}=VALUE" for key in _missing(raw)]
    if found:
        raise ConfigError("\n".join(found))
    try:
        plain: dict[str, Any] = OmegaConf.to_container(composed, resolve=True)  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        raise ConfigError(_one_line(error)) from error
    return plain, choices


def known_keys_composed(name: str | None, overrides: list[str], config_dir: str | Path | None) -> Any:
    """Hydra's composition of overrides; of keys that do not exist all are named."""
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    unknown: list[str] = []
    while True:
        try:
            composed = _hydra_composed(name, overrides, config_dir)
            break
        except ResidualSSLError:
            raise
        except (HydraException, OmegaConfBaseException, ValueError, TypeError, AttributeError) as error:
            refused = re.search(r"Could not override '([^']+)'", str(error))
            kept = [o for o in overrides if refused and o.partition("=")[0].lstrip("+") != refused.group(1)]
            if refused is None or len(kept) == len(overrides):
                said = _one_line(error)
                if not isinstance(error, HydraException | OmegaConfBaseException):  # a null or a number for a group
                    said = f"{' '.join(overrides)}: {said}; a group takes the name of a choice"
                raise ConfigError("\n".join([*(f"{key}: no such key" for key in unknown), said])) from error
            inner = re.search(r"full_key: (\S+)", str(error.__cause__))
            unknown.append(inner.group(1) if inner else refused.group(1))
            overrides = kept
    if unknown:
        whole: Any = OmegaConf.to_container(composed, resolve=False)
        raise ConfigError("\n".join(unknown_key(key, whole, _keys()) for key in unknown))
    return composed


def _hydra_composed(name: str | None, overrides: list[str], config_dir: str | Path | None) -> Any:
    from hydra import compose as hydra_compose
    from hydra import initialize_config_module
    from hydra.core.global_hydra import GlobalHydra

    overrides = [*overrides, *search_path(config_dir)]
    GlobalHydra.instance().clear()
    with initialize_config_module(_GROUPS, version_base="1.3"):
        composed = hydra_compose(name, overrides=overrides, return_hydra_config=True)
        published = published_overrides(composed)
        if published:  # before what the user says, which has the last word
            composed = hydra_compose(name, overrides=[*published, *overrides], return_hydra_config=True)
    return composed


def search_path(config_dir: str | Path | None) -> list[str]:
    """The override that tells Hydra the further folders of choices; none where there are none."""
    _, *further = choice_folders(config_dir)
    places = ",".join(quoted(f"file://{folder.resolve()}") for folder in further)
    return [f"hydra.searchpath=[{places}]"] if places else []


def published_overrides(composed: Any) -> list[str]:
    """Overrides of the published rules that hold."""
    values: dict[str, Any] = {}
    for rule in published_rules(composed):
        values |= rule["set"]
    return [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in values.items()]


def published_rules(composed: Any) -> list[dict[str, Any]]:
    """Rules under ``published`` that hold for the choices made: ``when`` one name of each matches.

    Papers choose crops, schedules and losses by data set, algorithm and model; an experiment says so in one list, of
    which later rules win.
    """
    from omegaconf import OmegaConf

    if not composed.get("published"):
        return []
    rules: Any = OmegaConf.to_container(composed.published, resolve=False)
    made = {**composed.hydra.runtime.choices, "split": composed.dataset.get("split")}
    return [
        rule
        for rule in rules
        if all(any(fnmatch(str(made.get(name)), one) for one in names) for name, names in rule["when"].items())
    ]


def _replaced_length(overrides: Sequence[str]) -> list[str]:
    """A run is as long as ``steps`` or ``epochs`` say: giving one takes back a default of the other."""
    given = [name for name in ("steps", "epochs") if any(o.startswith(f"{name}=") for o in overrides)]
    return [f"{'epochs' if given == ['steps'] else 'steps'}=null"] if len(given) == 1 else []


def _missing(config: Any, path: str = "") -> list[str]:
    """Keys whose value is Hydra's mark for "to be given"."""
    if config == "???":
        return [path]
    items: Any = config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else ()
    return [key for name, value in items for key in _missing(value, f"{path}.{name}".lstrip("."))]


def _resolvers(config: Any, path: str = "") -> list[str]:
    """Values that ask for something outside the configuration: it is written to files, and secrets with it."""
    if isinstance(config, str) and (name := _OUTSIDE.search(config)):
        return [
            f"{path}: got {config!r}, which reads {name.group(1)!r} from outside the configuration; a run stores its "
            'configuration in files, so give the value itself (in a shell, "key=$VARIABLE")'
        ]
    items: Any = config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else ()
    return [fault for name, value in items for fault in _resolvers(value, f"{path}.{name}".lstrip("."))]


def _one_line(error: Exception) -> str:
    """Hydra's message without its hints for Hydra's authors, with the nearest names of ours."""
    text = str(error)
    if choice := re.search(r"Could not find '([^']+)'", text):
        group, _, name = choice.group(1).rpartition("/")
        options = getattr(error, "options", None) or ["the files of that group"]
        return f"{group}: got {name!r}, expected one of {', '.join(sorted(options))}"
    return next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)


def _keys() -> list[str]:
    from residual_ssl.config.settings import Settings

    return [
        *Settings.__dataclass_fields__,
        "dataset",
        "model",
        "selector",
        "loss",
        "mix",
        "peft",
        *_DOMAINS,
        "experiment",
    ]
