"""Where the rows of a run's log go beside the file: TensorBoard, Weights & Biases, MLflow, Trackio, … by accelerate."""

from __future__ import annotations

import json
import os
import secrets
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from accelerate.tracking import LOGGER_TYPE_TO_CLASS

from residual_ssl.config.settings import Settings
from residual_ssl.engine.callbacks import Callbacks
from residual_ssl.engine.records.run_log import RunLog
from residual_ssl.errors import ConfigError, MissingPackageError, ResidualSSLWarning
from residual_ssl.runtime.files import write_json

IDS_NAME = "trackers.json"
_PROJECT = "residual_ssl"
# Variables by which a tracker's own users name the project.
_PROJECT_VARIABLES = {"wandb": "WANDB_PROJECT", "mlflow": "MLFLOW_EXPERIMENT_NAME", "trackio": "TRACKIO_PROJECT"}


def check_trackers(names: Sequence[str]) -> None:
    """Look whether trackers are there, before anything is done.

    Raises:
        ConfigError: a name that accelerate does not know.
        MissingPackageError: a package that is not installed.
    """
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            known = ", ".join(sorted(LOGGER_TYPE_TO_CLASS))
            raise ConfigError(f"trackers: got {name!r}, expected some of {known}, or [] for none")
        if find_spec(name) is None:
            raise MissingPackageError(f"trackers: got {name}, which is not installed; pip install {name}")


def opened_log(settings: Settings, start: int, callbacks: Callbacks) -> RunLog:
    """The log of a run, whose rows go to its trackers and to ``callbacks.on_log``."""
    run_dir = Path(settings.run_dir)
    trackers = Trackers(settings.trackers, run_dir, start, asdict(settings))
    return RunLog(run_dir, start, (trackers.write, callbacks.on_log), trackers.close)


class Trackers:
    """The trackers of a run, told each row of its log.

    A tracker that fails, as when its server cannot be reached, is warned of and told no more: ``log.jsonl`` has
    everything, and no training ends for it. A continued run goes on in the same place where the tracker can.

    Args:
        names: as of :func:`check_trackers`.
        run_dir: existing folder; its path is the name of the run.
        start: steps done before.
        config: settings of the run, stored where the tracker stores any.
    """

    def __init__(self, names: Sequence[str], run_dir: Path, start: int, config: Mapping[str, Any]) -> None:
        self._open: dict[str, Any] = {}
        ids = _stored_ids(run_dir)
        for name in names:
            try:
                self._open[name] = self._started(name, run_dir, start, config, ids)
            except Exception as error:  # whatever a service or its package raises
                _warn(name, error)
        if ids:
            write_json(run_dir / IDS_NAME, ids)

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Tell all trackers a row."""
        for name, tracker in list(self._open.items()):
            try:
                tracker.log(dict(metrics), step=step)
            except Exception as error:
                _warn(name, error)
                del self._open[name]

    def close(self) -> None:
        """Let all trackers finish."""
        for name, tracker in self._open.items():
            try:
                tracker.finish()
            except Exception as error:
                _warn(name, error)
        self._open = {}

    @staticmethod
    def _started(name: str, run_dir: Path, start: int, config: Mapping[str, Any], ids: dict[str, str]) -> Any:
        known = LOGGER_TYPE_TO_CLASS[name]
        project = os.environ.get(_PROJECT_VARIABLES.get(name, ""), _PROJECT)
        title = "/".join(part for part in run_dir.parts if part != run_dir.anchor)
        if name == "tensorboard":  # rows of later steps, left by a run that was cut off, are dropped
            tracker = known("tensorboard", logging_dir=str(run_dir), purge_step=start + 1)
        elif name == "mlflow":
            tracker = known(project, run_id=ids.get(name), run_name=title)
        elif name == "wandb":
            ids.setdefault(name, secrets.token_hex(6))
            tracker = known(project, name=title, id=ids[name], resume="allow", dir=str(run_dir))
        elif name == "trackio":
            tracker = known(project, name=title, resume="allow")
        else:
            tracker = known(str(run_dir)) if known.requires_logging_directory else known(title)
        if hasattr(tracker, "start"):  # older versions start when they are made
            tracker.start()
        if name == "mlflow":
            ids[name] = tracker.active_run.info.run_id
        if name != "tensorboard" and not start:
            tracker.store_init_configuration(_flat(config))
        return tracker


def _flat(node: Any, path: str = "") -> dict[str, Any]:
    """Dotted keys with plain values; lists as text."""
    if isinstance(node, Mapping):
        below = (_flat(one, f"{path}.{name}".lstrip(".")) for name, one in node.items())
        return {key: value for one in below for key, value in one.items()}
    return {path: node if isinstance(node, str | int | float | None) else str(node)}


def _stored_ids(run_dir: Path) -> dict[str, str]:
    try:
        found = json.loads((run_dir / IDS_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {name: one for name, one in found.items() if isinstance(one, str)} if isinstance(found, dict) else {}


def _warn(name: str, error: Exception) -> None:
    said = str(error).strip().splitlines()
    warnings.warn(
        f"trackers: {name} failed and is told no more ({type(error).__name__}: {said[0] if said else ''}); log.jsonl "
        "has every row",
        ResidualSSLWarning,
        stacklevel=3,
    )
