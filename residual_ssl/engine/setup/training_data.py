"""The sets that a run trains on, how many steps they make, and their batches from a step on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from torch.utils.data import Dataset

from residual_ssl.config.settings import Settings
from residual_ssl.engine.setup.loading import StepSampler, step_order, training_batches, with_index
from residual_ssl.engine.setup.unreadable import (
    ReadableSamples,
    SkippedSamples,
    collate_with_faults,
    counted,
    sample_name,
)
from residual_ssl.errors import DataError
from residual_ssl.runtime.seeds import mixed_seed
from residual_ssl.task import Batch, Task


@dataclass(frozen=True)
class TrainingData:
    """Data of a run, opened; no sample is read yet.

    Attributes:
        labelled: training set with targets.
        unlabelled: training set without, None where the algorithm never reads it.
        counts: samples of each set that was opened, by name.
        steps: optimiser steps of the run.
        epoch_steps: steps of one epoch, where the run is given in epochs; else None.
    """

    labelled: Dataset[Batch]
    unlabelled: Dataset[Batch] | None
    counts: dict[str, int]
    steps: int
    epoch_steps: float | None

    def batches(
        self,
        settings: Settings,
        start: int,
        process: int,
        processes: int,
        pin: bool,
        skipped: SkippedSamples,
        indexed: bool = False,
    ) -> tuple[Iterator[Batch], Iterator[Batch] | None]:
        """Endless micro-batches of this process, labelled and unlabelled, from step ``start`` on.

        Samples that cannot be read are counted in ``skipped``, where ``on_error`` lets the run go on without them. With
        ``indexed``, batches hold ``index``, the places of their samples in the set (of those that were drawn).
        """

        def stream(dataset: Dataset[Batch], batch: int, number: int) -> Iterator[Batch]:
            kind = ("labelled", "unlabelled")[number]
            skip = settings.on_error == "skip" or settings.on_error == f"skip_{kind}"
            order = step_order(
                dataset,
                batch,
                seed=mixed_seed(settings.seed, number),
                start=start,
                process=process,
                processes=processes,
                accumulate=settings.accumulate,
            )
            found = training_batches(
                ReadableSamples(dataset, settings.seed) if skip else dataset,  # type: ignore[arg-type]
                order,
                workers=settings.workers,
                pin=pin,
                collate=collate_with_faults if skip else None,
            )
            read = counted(found, kind, dataset, skipped) if skip else found
            return with_index(read, order) if indexed else read

        labelled = stream(self.labelled, settings.labelled_batch, 0)
        if self.unlabelled is None:
            return labelled, None
        return labelled, stream(self.unlabelled, settings.unlabelled_batch, 1)

    def sample_names(self, settings: Settings, step: int) -> str:
        """Names of the samples of a step over all processes, by set; their positions where the source has no names."""
        sets = [("labelled", self.labelled, settings.labelled_batch)]
        if self.unlabelled is not None:
            sets.append(("unlabelled", self.unlabelled, settings.unlabelled_batch))
        found = []
        for number, (kind, data, batch) in enumerate(sets):
            sampler = StepSampler(len(data), batch, seed=mixed_seed(settings.seed, number), start=step)  # type: ignore[arg-type]
            names = [sample_name(data, index) for index, _ in next(iter(sampler))]
            found.append(f"{kind} {', '.join(names[:_NAMED])}{' …' if len(names) > _NAMED else ''}")
        return "; ".join(found)


_NAMED = 16


def open_training_data(task: Task, settings: Settings, needs_unlabelled: bool) -> TrainingData:
    """Open the sets of a run, and count.

    A run in epochs counts the unlabelled set also where its algorithm does not need it, so that all algorithms get the
    same number of steps.

    Raises:
        DataError: a set without samples that the run needs.
    """
    labelled, unlabelled = task.labelled(settings.seed), None
    if needs_unlabelled or settings.epochs is not None:
        unlabelled = task.unlabelled(settings.seed)
    sets: dict[str, Any] = {"labelled": labelled, "unlabelled": unlabelled, "validation": task.validation()}
    counts = {name: len(data) for name, data in sets.items() if data is not None}
    for name, count in counts.items():
        if not count and name != "validation" and (needs_unlabelled or name != "unlabelled"):
            raise DataError(f"{name} set: holds no samples; this run needs at least one")
    steps, epoch_steps = settings.steps, None
    if settings.epochs is not None:
        size, batch = counts["labelled"], settings.labelled_batch
        if counts["unlabelled"] >= size:
            size, batch = counts["unlabelled"], settings.unlabelled_batch
        steps, epoch_steps = steps_of_epochs(settings.epochs, size, batch), size / batch
    assert steps is not None  # settings hold either
    return TrainingData(labelled, unlabelled if needs_unlabelled else None, counts, steps, epoch_steps)


def steps_of_epochs(epochs: float, samples: int, batch: int) -> int:
    """Steps of so many passes over a set, rounded up.

    Example:
        >>> steps_of_epochs(80, 10_399, 8), steps_of_epochs(0.1, 30, 3)
        (103990, 1)
    """
    return math.ceil(Fraction(str(epochs)) * samples / batch)
