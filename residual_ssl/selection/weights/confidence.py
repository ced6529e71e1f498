"""Weights by the confidence, between two thresholds."""

from __future__ import annotations

import torch
from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.runtime.arguments import Positive, Share, checked
from residual_ssl.selection.features import JudgedPoints
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector


class ConfidenceWeight(Selector):
    """Weigh points by their confidence: in full from a high threshold on, not at all below a low one.

    Formula: ``w = 1`` where ``c ≥ high``, ``c^γ`` where ``low ≤ c < high``, else 0; γ = 1, low = 0, high = 1

    State: none.

    Cost: one pass.

    Use: with low and high, hierarchical supervision: sure points teach as labels do, unsure ones a little.

    Source: AEL, arXiv 2110.05474 (c^γ); CPCL, arXiv 2211.16701 (c); HSSDA, arXiv 2304.01464, which finds its two by
    clustering the scores of labelled objects: here they are given.

    Args:
        low, high: 0 ≤ low ≤ high ≤ 1.
        power: γ > 0.

    Example:
        >>> import torch
        >>> ConfidenceWeight(low=0.6, high=0.95)(torch.tensor([[4.0, 0.0], [1.0, 0.0], [0.1, 0.0]])).weight
        tensor([1.0000, 0.7311, 0.0000])
    """

    @checked
    def __init__(self, low: Share = 0.0, high: Share = 1.0, power: Positive = 1.0) -> None:
        super().__init__()
        if low > high:
            raise InvalidInputError(f"low: got {low}, expected at most high, {high}")
        self.low = low
        self.high = high
        self.power = power

    def judge(self, points: JudgedPoints, logits: Tensor) -> Selection:
        confidence = points.confidence.detach()
        trusted = confidence >= self.high
        between = torch.where(confidence >= self.low, confidence**self.power, 0.0)
        return self.select(points, trusted, torch.where(trusted, 1.0, between).to(confidence.dtype))

    def extra_repr(self) -> str:
        return f"low={self.low}, high={self.high}, power={self.power}"
