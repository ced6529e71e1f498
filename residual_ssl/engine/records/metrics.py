"""Running means of a run's training metrics, over steps and processes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from accelerate import Accelerator
from torch import Tensor


class RunningMeans:
    """Adds up scalar tensors without waiting for the device; :meth:`take` gives their means and starts again.

    Args:
        accelerator: reduces over processes; all of them take together.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    def add(self, metrics: Mapping[str, Tensor]) -> None:
        """Add one row; all rows have the same names."""
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(value)) + value
        self._count += 1

    def take(self) -> dict[str, float]:
        """Means by name over the rows since the last call and over all processes; empty where there was none."""
        if not self._count:
            return {}
        means = torch.stack([value.float() for value in self._sums.values()]) / self._count
        means = self._accelerator.reduce(means, "mean")
        metrics = dict(zip(self._sums, means.tolist(), strict=True))
        self._sums, self._count = {}, 0
        return metrics
