"""Selection by a fixed confidence threshold, and no selection at all."""

from __future__ import annotations

from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.features import judged_points
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector


class FixedThreshold(Selector):
    """Trust every point whose confidence reaches a threshold: ``w = 1[c ≥ τ]``.

    Args:
        threshold: τ in [0, 1].

    Source: FixMatch, arXiv 2001.07685, eq. 4.

    Example:
        >>> import torch
        >>> FixedThreshold(0.9)(torch.tensor([[4.0, 0.0], [1.0, 0.0]])).trusted
        tensor([ True, False])
    """

    def __init__(self, threshold: float = 0.95) -> None:
        super().__init__()
        if not 0 <= threshold <= 1:
            raise InvalidInputError(f"threshold: got {threshold}, expected a confidence in [0, 1]")
        self.threshold = threshold

    def forward(self, logits: Tensor, valid: Tensor | None = None) -> Selection:
        points = judged_points(logits, valid)
        return self.select(points, points.confidence >= self.threshold)

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}"


class NoSelection(FixedThreshold):
    """Trust every valid point: the baseline that a selection rule has to beat.

    Example:
        >>> import torch
        >>> NoSelection()(torch.tensor([[0.1, 0.0], [float("nan"), 0.0]])).weight
        tensor([1., 0.])
    """

    def __init__(self) -> None:
        super().__init__(threshold=0.0)
