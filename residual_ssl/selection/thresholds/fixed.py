"""FixMatch: a fixed confidence threshold."""

from __future__ import annotations

from torch import Tensor

from residual_ssl.runtime.arguments import Share, checked
from residual_ssl.selection.features import JudgedPoints
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector


class FixedThreshold(Selector):
    """Trust every point whose confidence reaches a threshold: ``w = 1[c ≥ τ]``.

    Formula: ``w = 1[c ≥ τ]``, τ = .95

    State: none.

    Cost: one pass.

    Use: a first choice, with a model that is well calibrated and classes of like difficulty.

    Source: FixMatch, arXiv 2001.07685, eq. 4.

    Args:
        threshold: τ in [0, 1].

    Example:
        >>> import torch
        >>> FixedThreshold(0.9)(torch.tensor([[4.0, 0.0], [1.0, 0.0]])).trusted
        tensor([ True, False])
    """

    @checked
    def __init__(self, threshold: Share = 0.95) -> None:
        super().__init__()
        self.threshold = threshold

    def judge(self, points: JudgedPoints, logits: Tensor) -> Selection:
        return self.select(points, points.confidence >= self.threshold)

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}"
