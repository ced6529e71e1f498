"""One optimiser step: its learning rate, its randomness, its micro-batches, and whether it counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from residual_ssl.algorithms import Algorithm
from residual_ssl.config.settings import Settings
from residual_ssl.diagnostics import selection_quality
from residual_ssl.engine.setup.batchnorm import average_running_statistics
from residual_ssl.engine.setup.loading import to_device
from residual_ssl.engine.setup.optimization import learning_rate_factor
from residual_ssl.runtime.finite import gradients_finite
from residual_ssl.runtime.global_batch import batch_part
from residual_ssl.runtime.seeds import mixed_seed
from residual_ssl.task import Batch, Task


class TrainingStep:
    """Take optimiser steps, each a function of its number alone.

    All random numbers of a step follow from the seed, the step's number and the position of a sample in the global
    batch (:mod:`residual_ssl.runtime.global_batch`). A continued run therefore needs no generator states, and one
    process takes the same step as several. Layers that draw from torch's global generator, such as dropout, have a
    different stream in each process and micro-batch.

    A step with a gradient that is not finite is skipped on all processes: weights, running statistics and the state of
    the algorithm stay, or are restored, as they were before it.

    Args:
        settings, task, algorithm, accelerator: of the run.
        model, optimizer: prepared by the accelerator.
        steps: of the whole run, for the schedule.
        rates: learning rate of each parameter group before the schedule.

    Attributes:
        skipped: the last step was skipped.
        computing: the last call got its first batch; before that it changed nothing.
        labelled_points: points with a label that this process has seen, int64 scalar on the device.
    """

    def __init__(
        self,
        settings: Settings,
        task: Task,
        algorithm: Algorithm,
        accelerator: Accelerator,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        steps: int,
        rates: Sequence[float],
    ) -> None:
        self._settings = settings
        self._task = task
        self._algorithm = algorithm
        self._accelerator = accelerator
        self._model = model
        self._optimizer = optimizer
        self._steps = steps
        self._rates = rates
        self._kept: list[Tensor] = []
        self.skipped = False
        self.computing = False
        self.labelled_points = torch.zeros((), dtype=torch.int64, device=accelerator.device)

    def __call__(self, step: int, labelled: Iterator[Batch], unlabelled: Iterator[Batch] | None) -> dict[str, Tensor]:
        """Take step ``step``; metrics to log, detached scalars."""
        settings, accelerator = self._settings, self._accelerator
        self.skipped = self.computing = False
        factor = learning_rate_factor(step, self._steps, settings.warmup_steps, settings.schedule, settings.power)
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        parts = accelerator.num_processes * settings.accumulate
        seed = mixed_seed(settings.seed, step)
        student = accelerator.unwrap_model(self._model)
        metrics: dict[str, Tensor] = {}
        for micro in range(settings.accumulate):
            labelled_batch = to_device(next(labelled), accelerator.device)
            unlabelled_batch = None if unlabelled is None else to_device(next(unlabelled), accelerator.device)
            if not self.computing:
                self._keep_buffers(student)
                self.computing = True
            self.labelled_points += (labelled_batch["target"] != self._task.ignore_index).sum()
            part = accelerator.process_index * settings.accumulate + micro
            # After the loaders, which draw when they start.
            torch.manual_seed(mixed_seed(seed, part))
            # Processes exchange gradients once a step, with the last micro-batch.
            last = micro == settings.accumulate - 1
            with batch_part(seed, part, parts), nullcontext() if last else accelerator.no_sync(self._model):
                for name, value in self._backward(labelled_batch, unlabelled_batch).items():
                    share = value / settings.accumulate
                    metrics[name] = metrics[name] + share if name in metrics else share
        if accelerator.scaler is not None:  # it looks for infinity itself, and finds some while it adapts
            self._optimizer.step()
            self.skipped = self._optimizer.step_was_skipped  # type: ignore[attr-defined]
        elif gradients_finite(student.parameters()):
            self._optimizer.step()
        else:
            self.skipped = True
            self._restore_buffers(student)
            self._optimizer.zero_grad()
            return metrics
        self._optimizer.zero_grad()
        average_running_statistics(student)
        self._algorithm.after_step(student)
        return metrics

    def _backward(self, labelled: Batch, unlabelled: Batch | None) -> dict[str, Tensor]:
        with self._accelerator.autocast():
            output = self._algorithm.step(self._model, self._task, labelled, unlabelled)
        self._accelerator.backward(output.loss / self._settings.accumulate)
        metrics = {"loss": output.loss.detach(), **{f"loss_{name}": value for name, value in output.terms.items()}}
        if output.selection is not None and unlabelled is not None:
            metrics |= selection_quality(output.selection, unlabelled.get("truth"), self._task.ignore_index)
        return {f"train/{name}": value for name, value in metrics.items()}

    def _buffers(self, student: nn.Module) -> list[Tensor]:
        return list({id(value): value for module in (student, self._algorithm) for value in module.buffers()}.values())

    @torch.no_grad()
    def _keep_buffers(self, student: nn.Module) -> None:
        buffers = self._buffers(student)
        same = len(buffers) == len(self._kept) and all(
            kept.shape == value.shape and kept.dtype == value.dtype and kept.device == value.device
            for kept, value in zip(self._kept, buffers, strict=True)
        )
        if not same:
            self._kept = [value.detach().clone() for value in buffers]
        elif buffers:
            torch._foreach_copy_(self._kept, buffers)

    @torch.no_grad()
    def _restore_buffers(self, student: nn.Module) -> None:
        for value, kept in zip(self._buffers(student), self._kept, strict=True):
            if value.shape == kept.shape:
                value.copy_(kept)
