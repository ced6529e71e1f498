"""A run with everything built: task, data, algorithm, network, optimizer, on its devices."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from residual_ssl.algorithms import Algorithm
from residual_ssl.config.components import build
from residual_ssl.config.settings import Settings
from residual_ssl.engine.records.resume import with_steps_of
from residual_ssl.engine.records.trackers import check_trackers
from residual_ssl.engine.setup.batchnorm import synchronised
from residual_ssl.engine.setup.devices import accelerator_for
from residual_ssl.engine.setup.effective import effective_lines, effective_values
from residual_ssl.engine.setup.label_check import check_labels
from residual_ssl.engine.setup.network_check import check_network
from residual_ssl.engine.setup.optimization import build_optimizer
from residual_ssl.engine.setup.settled import settled_task
from residual_ssl.engine.setup.training_data import TrainingData, open_training_data
from residual_ssl.engine.setup.unreadable import ReadableSamples, SkippedSamples
from residual_ssl.engine.step import TrainingStep
from residual_ssl.errors import ResidualSSLWarning
from residual_ssl.runtime import checkpoint
from residual_ssl.task import Batch, Task


@dataclass(frozen=True)
class PreparedRun:
    """What :func:`prepare` builds.

    Attributes:
        settings, accelerator, task, algorithm, data: of the run.
        model, optimizer: as the accelerator wraps them.
        take_step: takes one optimiser step.
        effective: see :func:`residual_ssl.engine.setup.effective.effective_values`.
        settled: what was given where the settings hold what followed from the data, by its path, see
            :meth:`residual_ssl.Task.settled`.
    """

    settings: Settings
    accelerator: Accelerator
    task: Task
    algorithm: Algorithm
    data: TrainingData
    model: nn.Module
    optimizer: torch.optim.Optimizer
    take_step: TrainingStep
    effective: dict[str, Any]
    settled: dict[str, Any] = field(default_factory=dict)

    @property
    def student(self) -> nn.Module:
        """The model without the accelerator's wrapping."""
        student: nn.Module = self.accelerator.unwrap_model(self.model)
        return student

    def batches(self, start: int, skipped: SkippedSamples) -> tuple[Iterator[Batch], Iterator[Batch] | None]:
        """Endless micro-batches of this process, labelled and unlabelled; see :meth:`TrainingData.batches`."""
        accelerator = self.accelerator
        pin = accelerator.device.type == "cuda"
        rank = accelerator.process_index, accelerator.num_processes
        return self.data.batches(self.settings, start, *rank, pin, skipped, indexed=self.algorithm.needs_index)

    def show_effective(self, start: int) -> None:
        """Print the effective values, once for all processes."""
        self.show(effective_lines(self.effective, self.settings, start, self.task.num_classes))

    def show(self, text: str) -> None:
        """Print, once for all processes."""
        if self.accelerator.is_main_process:
            print(text, flush=True)


def prepare(settings: Settings, stored: Mapping[str, Any] | None = None) -> PreparedRun:
    """Build a run, in the state of a checkpoint where one is given.

    Args:
        settings: checked.
        stored: as of :func:`residual_ssl.engine.records.resume.stored_run`.

    Raises:
        ConfigError: what the devices cannot do; another number of steps than the checkpoint's.
        MissingPackageError: a tracker that is not installed.
        DataError, MissingDataError: data that is not there.
        CheckpointError: weights that do not fit.
    """
    check_trackers(settings.trackers)
    accelerator = accelerator_for(settings)
    settings, task, settled = settled_task(settings, stored)
    torch.manual_seed(settings.seed)
    algorithm: Algorithm = build(settings.algorithm, "algorithm")
    model = algorithm.build_model(task)
    data = open_training_data(task, settings, algorithm.needs_unlabelled)
    if stored is None and accelerator.is_main_process:
        for remark in task.remarks():
            warnings.warn(ResidualSSLWarning(remark), stacklevel=2)
        check_labels(task, learns=getattr(algorithm, "labelled_weight", 1) != 0, skip=settings.on_error == "skip")
    if stored is not None:
        data = with_steps_of(stored, data)
    elif settings.init_from is not None:
        path = Path(settings.init_from)
        algorithm.start_from(model, checkpoint.load(path)["model"], path)
    if settings.sync_batchnorm:
        model = synchronised(model, accelerator.device, accelerator.num_processes)
    if stored is None:
        shown: Any = data.labelled
        sample = ReadableSamples(shown, settings.seed)[0, 0][0] if settings.on_error == "skip" else shown[0, 0]
        check_network(task, algorithm.evaluated(model), sample)
    algorithm.attach(model)
    optimizer = build_optimizer(settings, model)
    rates = [group["lr"] for group in optimizer.param_groups]
    effective = effective_values(settings, task, data, model, rates, accelerator)
    if stored is not None:
        checkpoint.restore_weights(model, stored["model"], Path(settings.run_dir) / "last.pt")
        algorithm.load_state_dict(stored["algorithm"])
        optimizer.load_state_dict(stored["optimizer"])
        if accelerator.scaler is not None:
            accelerator.scaler.load_state_dict(stored["scaler"])
    else:
        algorithm.on_train_start(data.steps)
        algorithm.see_data(task, data.labelled, data.unlabelled)
    if settings.compile is not None:
        model.compile(backend=settings.compile)  # in place: names of weights stay, copies are not compiled
    algorithm.to(accelerator.device)
    if data.unlabelled is not None:
        data = replace(data, unlabelled=algorithm.chosen_unlabelled(task, data.unlabelled))
    model, optimizer = accelerator.prepare(model, optimizer)
    step = TrainingStep(settings, task, algorithm, accelerator, model, optimizer, data.steps, rates)
    return PreparedRun(settings, accelerator, task, algorithm, data, model, optimizer, step, effective, settled)
