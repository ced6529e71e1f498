"""What a configuration is made of: the files that it is read from, in order, and the published rules that hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from residual_ssl.config.choice_folders import choice_folders
from residual_ssl.config.composition import (
    known_keys_composed,
    published_overrides,
    published_rules,
    search_path,
    typed_overrides,
)

MISSING = "???"


@dataclass(frozen=True)
class Layers:
    """A configuration, and what it is made of.

    Attributes:
        raw: the whole, interpolations as they stand, :data:`MISSING` where a value has to be given.
        values: the same with interpolations resolved, as far as what they refer to is given.
        choices: what was chosen from each group.
        files: names of the files, ``"dataset/folders"``, with the key under which their content stands, in the order in
            which they are read: later ones win.
        rules: published rules that hold, each with ``when`` and ``set``; later ones win, and all win over files.
        overrides: what the user said, which wins over all.
    """

    raw: dict[str, Any]
    values: dict[str, Any]
    choices: dict[str, str]
    files: list[tuple[str, str]]
    rules: list[dict[str, Any]]
    overrides: list[str]


def compose_layers(overrides: Sequence[str] = (), *, config_dir: str | Path | None = None) -> Layers:
    """Compose a configuration as :func:`residual_ssl.compose` does, and say what it is made of; values may be missing.

    Raises:
        ConfigError, MissingDataError: as ``compose``, but for values that have to be given.
    """
    from hydra import initialize_config_module
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    typed = typed_overrides(overrides)
    composed = known_keys_composed("train", typed, config_dir)
    everything = [*published_overrides(composed), *typed, *search_path(config_dir)]
    GlobalHydra.instance().clear()
    with initialize_config_module("residual_ssl.configs", version_base="1.3"):
        found = GlobalHydra.instance().config_loader().compute_defaults_list("train", everything, RunMode.RUN)
    files = [(one.config_path, one.package or "") for one in found.defaults if not one.config_path.startswith("hydra/")]
    ours = OmegaConf.masked_copy(composed, [key for key in composed if key not in ("hydra", "published")])
    raw: Any = OmegaConf.to_container(ours, resolve=False)
    choices = {group: choice for group, choice in composed.hydra.runtime.choices.items() if "hydra" not in group}
    return Layers(raw, _resolved(ours, raw), choices, files, published_rules(composed), typed)


def _resolved(node: Any, raw: Any) -> Any:
    """A node with its interpolations resolved one by one, so that one that cannot be hides no other."""
    from omegaconf import DictConfig, ListConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if not isinstance(node, DictConfig | ListConfig):
        return node
    keys: Any = list(node.keys()) if isinstance(node, DictConfig) else range(len(node))
    found = {}
    for key in keys:
        try:
            if OmegaConf.is_missing(node, key):
                found[key] = MISSING
                continue
            # What an interpolation refers to may be a node without raw text of its own here.
            found[key] = _resolved(node[key], None)
        except (OmegaConfBaseException, TypeError):
            found[key] = raw[key] if raw is not None else MISSING
    return found if isinstance(node, DictConfig) else [found[key] for key in keys]


def file_of(name: str, config_dir: str | Path | None = None) -> Path:
    """The file that a name stands for: ``"dataset/folders"``."""
    folders = choice_folders(config_dir)
    return next(path for folder in folders if (path := folder / f"{name}.yaml").is_file())
