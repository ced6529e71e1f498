"""Two predictions that agree, both confident."""

from __future__ import annotations

import torch
from torch import Tensor

from residual_ssl.runtime.arguments import Share, checked
from residual_ssl.selection.features import JudgedPoints
from residual_ssl.selection.points.pair import judged_pair
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector


class AgreementThreshold(Selector):
    """Trust points where two predictions have the same label and both reach the threshold.

    Formula: ``w = 1[y = y₂, c ≥ τ, c₂ ≥ τ]``, τ = .95

    State: none.

    Cost: two passes, and a second prediction.

    Use: two networks, or a network and an earlier state of it; τ = 0 asks for agreement alone.

    Source: PrevMatch, arXiv 2405.20610 (τ = .95, the second a past model's); CPCL, arXiv 2211.16701 (τ = 0: what
    both agree on).

    Args:
        threshold: τ in [0, 1].

    ``forward`` takes ``second``, logits ``(B, K, *S)`` of the same points.

    Example:
        >>> import torch
        >>> first, second = torch.tensor([[4.0, 0.0], [4.0, 0.0]]), torch.tensor([[3.5, 0.0], [0.0, 4.0]])
        >>> AgreementThreshold()(first, second=second).weight
        tensor([1., 0.])
    """

    evidence = ("second",)

    @checked
    def __init__(self, threshold: Share = 0.95) -> None:
        super().__init__()
        self.threshold = threshold

    def judge(self, points: JudgedPoints, logits: Tensor, *, second: Tensor) -> Selection:
        points, other = judged_pair(points, logits, second)
        sure = torch.minimum(points.confidence, other.confidence) >= self.threshold
        return self.select(points, sure & (points.label == other.label))

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}"
