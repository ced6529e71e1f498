"""Rules that change in the course of training."""

from __future__ import annotations

import torch
from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.selection.selector import Selector


class ScheduledSelector(Selector):
    """A rule that knows how far training has come, by counting its own calls in training mode.

    Args:
        total_steps: T ≥ 1, number of steps of the whole training.

    Raises:
        InvalidInputError: a ``total_steps`` that is not such a number.

    Example:
        >>> class Counting(ScheduledSelector):
        ...     pass
        >>> rule = Counting(total_steps=4)
        >>> [rule.progress().item() for _ in range(6)]
        [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    """

    step: Tensor

    def __init__(self, total_steps: int) -> None:
        super().__init__()
        if isinstance(total_steps, bool) or not isinstance(total_steps, int) or total_steps < 1:
            raise InvalidInputError(
                f"total_steps: got {total_steps!r}, expected the number of steps of the training, an integer ≥ 1; "
                "where a configuration gives epochs instead, set selector.total_steps"
            )
        self.total_steps = total_steps
        self.add_state("step", torch.zeros((), dtype=torch.int64), "max")

    def progress(self) -> Tensor:
        """The share t/T of training that is over, a scalar tensor in [0, 1]; counts the step. Once in a ``forward``."""
        share = (self.step.double() if self.step.device.type != "mps" else self.step.float()) / self.total_steps
        if self.training:
            self.step.add_(1)
        return share.clamp(max=1)
