"""Running means of a run's training figures, over steps and processes."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from accelerate import Accelerator
from torch import Tensor

from residual_ssl.errors import ResidualSSLError


class RunningMeans:
    """Adds up scalar tensors without waiting for the device; :meth:`take` gives their means and starts again.

    Args:
        accelerator: reduces over processes; all of them take together.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    def add(self, figures: Mapping[str, Tensor]) -> None:
        """Add one row; all rows have the same names."""
        for name, value in figures.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(value)) + value
        self._count += 1

    def take(self) -> dict[str, float]:
        """Means by name over the rows since the last call and over all processes."""
        means = torch.stack([value.float() for value in self._sums.values()]) / self._count
        means = self._accelerator.reduce(means, "mean")
        figures = dict(zip(self._sums, means.tolist(), strict=True))
        self._sums, self._count = {}, 0
        return figures


def check_finite(loss: float, step: int, run_dir: str) -> None:
    """Stop a run whose loss is not a number any more.

    Raises:
        ResidualSSLError: with the step and what to do.
    """
    if not math.isfinite(loss):
        raise ResidualSSLError(
            f"loss: got {loss} at step {step}; the run diverged. Lower optimizer.lr or raise warmup_steps; "
            f"the checkpoints in {run_dir} are from before"
        )
