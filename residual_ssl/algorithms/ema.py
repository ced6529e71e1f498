"""A teacher whose parameters are the exponential moving average of the student's."""

from __future__ import annotations

import copy

import torch
from torch import nn

from residual_ssl.errors import InvalidInputError


class EMATeacher(nn.Module):
    """Moving average of a model, in evaluation mode and without gradients.

    Args:
        model: the student; copied.
        decay: share of the old average kept at each update, in [0, 1). The first updates use
            ``min(decay, 1 - 1/(updates + 1))``, so that the random start does not linger.

    Integer buffers are copied, floating ones (BatchNorm statistics) averaged as the parameters are.

    Source: Mean Teacher, arXiv 1703.01780.

    Example:
        >>> import torch
        >>> student = torch.nn.Linear(2, 2)
        >>> teacher = EMATeacher(student, decay=0.9)
        >>> teacher(torch.zeros(1, 2)).shape
        torch.Size([1, 2])
    """

    updates: torch.Tensor

    def __init__(self, model: nn.Module, decay: float = 0.999) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise InvalidInputError(f"decay: got {decay}, expected a value in [0, 1)")
        self.decay = decay
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.model(*inputs)  # type: ignore[no-any-return]

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards ``model``; call it once after each optimiser step."""
        self.updates += 1
        kept = (1 - 1 / (self.updates + 1)).clamp(max=self.decay)
        for own, new in zip(_tensors(self.model), _tensors(model), strict=True):
            if own.is_floating_point():
                own.lerp_(new.to(own.dtype), (1 - kept).to(own.dtype))
            else:
                own.copy_(new)

    def train(self, mode: bool = True) -> EMATeacher:
        """Stay in evaluation mode: a teacher predicts with its running statistics."""
        return super().train(False)


def _tensors(model: nn.Module) -> list[torch.Tensor]:
    return [*model.parameters(), *model.buffers()]
