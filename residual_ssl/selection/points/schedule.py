"""Selectors that change in the course of training."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.runtime.arguments import Count, checked
from residual_ssl.selection.needs import Needs
from residual_ssl.selection.selector import Selector


class ScheduledSelector(Selector):
    """A selector with a schedule: counts its calls in training mode to know the share of training that is done.

    Args:
        total_steps: T ≥ 1, number of steps of the whole training; None: the number that
            :meth:`on_train_start` is given; before that, progress is 0.

    Raises:
        InvalidInputError: a ``total_steps`` that is not such a number.

    Example:
        >>> class Counting(ScheduledSelector):
        ...     pass
        >>> selector = Counting(total_steps=4)
        >>> [selector.progress().item() for _ in range(6)]
        [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    """

    step: Tensor
    total: Tensor

    @checked
    def __init__(self, total_steps: Count | None = None) -> None:
        super().__init__()
        self.total_steps = total_steps
        self.add_state("step", torch.zeros((), dtype=torch.int64), "max")
        self.add_state("total", torch.tensor(total_steps or 0), "max")

    @property
    def needs(self) -> Needs:
        return replace(super().needs, schedule=self.total_steps is None)

    def on_train_start(self, total_steps: int) -> None:
        """Told of the number of training steps before the first of them; an own ``total_steps`` prevails."""
        if isinstance(total_steps, bool) or not isinstance(total_steps, int) or total_steps < 1:
            raise InvalidInputError(f"total_steps: got {total_steps!r}, expected an integer ≥ 1")
        if self.total_steps is None:
            self.total.fill_(total_steps)

    def progress(self) -> Tensor:
        """The share t/T of training that is over, a scalar in [0, 1]; counts the step. Once in each ``forward``."""
        wide = torch.float64 if self.step.device.type != "mps" else torch.float32
        share = self.step.to(wide) / self.total.clamp(min=1)
        if self.training:
            self.step.add_(1)
        return torch.where(self.total > 0, share.clamp(max=1), 0.0)
