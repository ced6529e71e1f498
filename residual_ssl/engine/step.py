"""One optimiser step: its learning rate, its randomness, its micro-batches."""

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
from residual_ssl.engine.setup.loading import mixed_seed, to_device
from residual_ssl.engine.setup.optimization import learning_rate_factor
from residual_ssl.runtime.global_batch import batch_part
from residual_ssl.task import Batch, Task


class TrainingStep:
    """Takes an optimiser step on the next micro-batches, as a function of the step's number alone.

    All randomness of a step follows from the seed, its number and the place of a sample in the global batch
    (:mod:`residual_ssl.runtime.global_batch`): continuing needs no generator states, and one process takes the step
    that several take. What draws from torch's global generator, dropout layers of a model say, has another stream in
    each process and micro-batch.

    Args:
        settings, task, algorithm, accelerator: of the run.
        model, optimizer: prepared by the accelerator.
        steps: of the whole run, for the schedule.
        rates: learning rate of each parameter group before the schedule.
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

    def __call__(self, step: int, labelled: Iterator[Batch], unlabelled: Iterator[Batch] | None) -> dict[str, Tensor]:
        """Take step ``step``; figures to log, detached scalars."""
        settings, accelerator = self._settings, self._accelerator
        factor = learning_rate_factor(step, self._steps, settings.warmup_steps, settings.schedule, settings.power)
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        parts = accelerator.num_processes * settings.accumulate
        seed = mixed_seed(settings.seed, step)
        figures: dict[str, Tensor] = {}
        for micro in range(settings.accumulate):
            taught = to_device(next(labelled), accelerator.device)
            free = None if unlabelled is None else to_device(next(unlabelled), accelerator.device)
            part = accelerator.process_index * settings.accumulate + micro
            # After the loaders, which draw when they start.
            torch.manual_seed(mixed_seed(seed, part))
            # Processes exchange gradients once a step, with the last micro-batch.
            last = micro == settings.accumulate - 1
            with batch_part(seed, part, parts), nullcontext() if last else accelerator.no_sync(self._model):
                for name, value in self._backward(taught, free).items():
                    share = value / settings.accumulate
                    figures[name] = figures[name] + share if name in figures else share
        self._optimizer.step()
        self._optimizer.zero_grad()
        student = accelerator.unwrap_model(self._model)
        average_running_statistics(student)
        self._algorithm.after_step(student)
        return figures

    def _backward(self, labelled: Batch, unlabelled: Batch | None) -> dict[str, Tensor]:
        with self._accelerator.autocast():
            output = self._algorithm.step(self._model, self._task, labelled, unlabelled)
        self._accelerator.backward(output.loss / self._settings.accumulate)
        figures = {"loss": output.loss.detach(), **{f"loss_{name}": value for name, value in output.terms.items()}}
        if output.selection is not None and unlabelled is not None:
            figures |= selection_quality(output.selection, unlabelled.get("truth"), self._task.ignore_index)
        return {f"train/{name}": value for name, value in figures.items()}
