"""Training batches as a function of the step: equal for any number of workers, continued exactly after a stop."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from residual_ssl.engine.interruption import ignore_stop_signals, signals_held_back
from residual_ssl.errors import ConfigError, DataError, ResidualSSLError
from residual_ssl.runtime.permutation import KeyedPermutation
from residual_ssl.runtime.seeds import mixed_seed
from residual_ssl.task import Batch

# Samples of a set whose order is a list, of eight bytes each.
_LISTED = 10_000_000


class StepSampler(Sampler[list[tuple[int, int]]]):
    """Endless micro-batches of ``(index, draw)``: shuffled passes over the data, divided among processes.

    The batch of a step is cut into ``processes × accumulate`` equal parts; process p takes the parts ``p·accumulate,
    p·accumulate + 1, …`` one after the other, then those of the next step.

    The order of up to ten million samples is a list, that of more a :class:`KeyedPermutation`, which takes no memory.

    Args:
        length: samples of the dataset.
        batch: samples of a step over all processes; divisible by ``processes × accumulate``.
        seed: fixes the order.
        start: step to begin with.
        process, processes: rank and world size.
        accumulate: micro-batches a step.
    """

    def __init__(
        self,
        length: int,
        batch: int,
        *,
        seed: int,
        start: int = 0,
        process: int = 0,
        processes: int = 1,
        accumulate: int = 1,
    ) -> None:
        if length < 1:
            raise DataError("training set: got no samples, expected at least one")
        parts = processes * accumulate
        if batch % parts:
            raise ConfigError(
                f"batch: got {batch} samples for {processes} processes with {accumulate} micro-batches each, expected "
                f"a multiple of {parts}"
            )
        self.length = length
        self.batch = batch
        self.seed = seed
        self.start = start
        self.process = process
        self.share = batch // parts
        self.accumulate = accumulate

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order: Any = None
        epoch = -1
        for turn in itertools.count(self.start * self.accumulate):
            step, micro = divmod(turn, self.accumulate)
            first = step * self.batch + (self.process * self.accumulate + micro) * self.share
            chosen = []
            for draw in range(first, first + self.share):
                if draw // self.length != epoch:
                    epoch = draw // self.length
                    order = _order(self.length, mixed_seed(self.seed, epoch))
                chosen.append((int(order[draw % self.length]), draw))
            yield chosen


def _order(length: int, seed: int) -> Any:
    """The samples of a pass in their order: from a list of them, and beyond its size without one."""
    if length > _LISTED:
        return KeyedPermutation(length, seed)
    return torch.randperm(length, generator=torch.Generator().manual_seed(seed))


def step_order(dataset: Dataset[Batch], batch: int, **division: int) -> StepSampler:
    """The order of a training set: a :class:`StepSampler` of its length."""
    return StepSampler(len(dataset), batch, **division)  # type: ignore[arg-type]


def training_batches(
    dataset: Dataset[Batch],
    order: StepSampler,
    *,
    workers: int,
    pin: bool,
    collate: Callable[[list[Any]], Any] | None = None,
) -> Iterator[Any]:
    """Micro-batches of this process in the order of its sampler, without end."""
    loader = DataLoader(dataset, batch_sampler=order, num_workers=workers, pin_memory=pin, collate_fn=collate)
    return batches_of(loader)


def with_index(batches: Iterator[Batch], order: StepSampler) -> Iterator[Batch]:
    """Batches with ``index``, int64 ``(B,)``: the places of their samples in the set."""
    for batch, chosen in zip(batches, order, strict=True):
        yield {**batch, "index": torch.tensor([index for index, _ in chosen])}


def batches_of(loader: DataLoader[Batch]) -> Iterator[Batch]:
    """The batches of a loader, whose processes leave it to this one to stop them.

    An error in a loading process says what it said there, without the traceback.

    Raises:
        DataError: a loading process was killed; else what a sample raises.
    """
    loader.worker_init_fn = ignore_stop_signals
    try:
        with signals_held_back():
            batches = iter(loader)
        yield from batches
    except RuntimeError as error:
        if "DataLoader worker" not in str(error) or isinstance(error, ResidualSSLError):
            raise
        raise DataError(
            f"workers: a loading process has died ({str(error).splitlines()[0]}); where memory has run out, give fewer "
            "workers. The same command continues the run"
        ) from error
    except ResidualSSLError as error:
        if "Original Traceback" not in str(error):
            raise
        raise type(error)(str(error).rsplit(f"{type(error).__name__}: ", 1)[-1].strip()) from error


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The tensors of a batch on a device, copied without waiting where they are pinned."""
    return {
        name: value.to(device, non_blocking=True) if hasattr(value, "to") else value for name, value in batch.items()
    }
