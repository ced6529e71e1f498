"""A trained run, loaded back: its task and its network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from residual_ssl.algorithms import Algorithm
from residual_ssl.config.changes import changed
from residual_ssl.config.components import build
from residual_ssl.engine.records.shared_model import WEIGHTS, is_shared, read_shared
from residual_ssl.errors import CheckpointError
from residual_ssl.runtime import checkpoint
from residual_ssl.task import Task


@dataclass(frozen=True)
class TrainedRun:
    """What a run directory holds, ready to predict.

    Attributes:
        path: the checkpoint file.
        task: built from the configuration in the checkpoint; reads no data before it is asked to.
        model: in evaluation mode, on ``device``.
        algorithm: as configured, in evaluation mode, with the trained memory of its selector.
        config: settings of the run.
        step: training step of the checkpoint.
        device: where ``model`` is.
    """

    path: Path
    task: Task
    model: nn.Module
    algorithm: Algorithm
    config: dict[str, Any]
    step: int
    device: torch.device


def load_run(
    run: str | Path, *, checkpoint_name: str = "best.pt", device: str = "auto", changes: Sequence[str] = ()
) -> TrainedRun:
    """Load a run directory, a checkpoint file of it, or a shared folder.

    Args:
        run: run directory, checkpoint file, or a folder that ``residual-ssl share`` wrote.
        checkpoint_name: file in the directory, ``best.pt`` or ``last.pt``.
        device: ``"auto"`` (a GPU where there is one) or a torch device.
        changes: settings that are others now, as of :func:`residual_ssl.config.changes.changed`.

    Raises:
        ConfigError: changes of what the run does not have.
        MissingDataError, CheckpointError: as :func:`residual_ssl.runtime.checkpoint.load`; another number of classes.
    """
    shared = is_shared(Path(run)) and not (Path(run) / checkpoint_name).exists()
    path = Path(run) / (WEIGHTS if shared else checkpoint_name) if Path(run).is_dir() else Path(run)
    stored = read_shared(path.parent) if shared else checkpoint.load(path)
    checkpoint.require_evaluable(stored, path)
    config = changed(stored["config"], changes)
    # Initial weights would only be overwritten, and their file may be elsewhere.
    model_config = config["task"].get("model")
    if isinstance(model_config, dict) and "weights" in model_config:
        model_config["weights"] = None
    task: Task = build(config["task"], "task")
    if list(task.class_names) != stored["class_names"]:
        raise CheckpointError(
            f"checkpoint {path}: was made for the classes {', '.join(stored['class_names'])}; the task has "
            f"{', '.join(task.class_names)}"
        )
    where = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    algorithm: Algorithm = build(config["algorithm"], "algorithm")
    if "algorithm" in stored:  # the student and what the algorithm made of it
        student = algorithm.build_model(task)
        checkpoint.restore_weights(student, stored["model"], path)
        algorithm.attach(student)
        algorithm.load_state_dict(stored["algorithm"])
        model = algorithm.evaluated(student)
    else:
        model = task.build_model()
        checkpoint.restore_weights(model, stored["model"], path)
        if stored.get("selector"):
            algorithm.selector.load_state_dict(stored["selector"])  # type: ignore[union-attr]
    algorithm.to(where).eval()
    return TrainedRun(path, task, model.to(where).eval(), algorithm, config, stored["step"], where)
