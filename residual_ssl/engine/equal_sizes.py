"""Evaluation batches of samples of one size, and of no more points than memory is meant for."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from residual_ssl.engine.setup.loading import batches_of
from residual_ssl.task import Batch

# Points of a batch, whatever the batch size: a photograph of 1920×1080 goes alone.
_MOST_POINTS = 2**21


def equal_size_batches(data: Dataset[Batch], batch: int, workers: int) -> Iterator[Batch]:
    """Batches of neighbouring samples of one size.

    Args:
        data: indexed by int.
        batch: samples a batch, fewer where their size changes or they are large.
        workers: loading processes.
    """
    waiting: list[Batch] = []
    for sample in batches_of(DataLoader(data, batch_size=None, num_workers=workers)):
        most = max(1, min(batch, _MOST_POINTS // max(1, _points(sample))))
        if waiting and (len(waiting) >= most or _sizes(waiting[0]) != _sizes(sample)):
            yield default_collate(waiting)
            waiting = []
        waiting.append(sample)
    if waiting:
        yield default_collate(waiting)


def _points(sample: Batch) -> int:
    target = sample.get("target")
    return target.numel() if isinstance(target, Tensor) else 1


def _sizes(sample: Batch) -> dict[str, object]:
    return {name: tuple(value.shape) for name, value in sample.items() if isinstance(value, Tensor)}
