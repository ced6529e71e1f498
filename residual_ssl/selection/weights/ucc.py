"""UCC: weights by the divergence of two predictions."""

from __future__ import annotations

import torch
from torch import Tensor

from residual_ssl.runtime.arguments import Share, checked
from residual_ssl.selection.features import JudgedPoints
from residual_ssl.selection.points.pair import judged_pair
from residual_ssl.selection.points.probabilities import kullback_leibler
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector


class UCCWeight(Selector):
    """Weigh confident points by how little the two predictions differ.

    Formula: ``w = 1[c ≥ τ]·exp(-KL(p‖p₂))``, τ = .8

    State: none.

    Cost: three passes, and a second prediction.

    Use: two heads, or teacher and student: where they differ, one of them is wrong.

    Source: UCC, arXiv 2205.10334, §3.3; the weight is that of arXiv 2003.03773.

    Args:
        threshold: τ in [0, 1].

    ``forward`` takes ``second``, logits ``(B, K, *S)`` of the same points.

    Example:
        >>> import torch
        >>> first, second = torch.tensor([[4.0, 0.0], [4.0, 0.0]]), torch.tensor([[4.0, 0.0], [0.0, 0.0]])
        >>> UCCWeight()(first, second=second).weight
        tensor([1.0000, 0.5471])
    """

    evidence = ("second",)

    @checked
    def __init__(self, threshold: Share = 0.8) -> None:
        super().__init__()
        self.threshold = threshold

    def judge(self, points: JudgedPoints, logits: Tensor, *, second: Tensor) -> Selection:
        points, other = judged_pair(points, logits, second)
        divergence = kullback_leibler(logits, points, second, other).to(points.confidence.dtype).clamp(min=0)
        weight = torch.where(points.confidence >= self.threshold, torch.exp(-divergence), 0.0)
        return self.select(points, weight == 1, weight)

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}"
