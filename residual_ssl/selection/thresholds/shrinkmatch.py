"""ShrinkMatch: negative labels for uncertain points, from their reduced class set."""

from __future__ import annotations

import torch
from torch import Tensor

from residual_ssl.runtime.arguments import Share, checked
from residual_ssl.selection.features import JudgedPoints
from residual_ssl.selection.points.probabilities import log_probabilities
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector


class ShrinkMatchThreshold(Selector):
    """Trust confident points, and give uncertain points negative labels: all classes but the few that compete.

    The classes of an uncertain point are ranked by probability. The smallest number of classes after the first is
    removed such that the point would be confident without them; the classes of lower rank are its negative labels.

    Formula: ``w = 1[c ≥ τ]``, τ = .95; negative labels of the others: ranks ≥ m, the smallest m ≥ 2 with
    ``p₀/(p₀ + Σ_{j≥m} p_j) ≥ τ``, none where no m < K does

    State: none.

    Cost: a sort of the classes at each point.

    Use: many classes of which some look alike: uncertain points still learn from the classes that they are not.

    Source: ShrinkMatch, arXiv 2308.06777, §3.2. There an auxiliary head is trained on the label within the remaining
    classes; here the removed classes stay open, the others are negative labels of weight 1, and there is no such head.

    Args:
        threshold: τ in (0, 1].

    Example:
        >>> import torch
        >>> chosen = ShrinkMatchThreshold(0.9)(torch.tensor([[0.5, 0.45, 0.03, 0.02]]).log())
        >>> chosen.negative
        tensor([[False, False,  True,  True]])
    """

    @checked
    def __init__(self, threshold: Share = 0.95) -> None:
        super().__init__()
        self.threshold = threshold

    def judge(self, points: JudgedPoints, logits: Tensor) -> Selection:
        ranked, order = log_probabilities(logits, points).exp().sort(dim=1, descending=True, stable=True)
        tail = ranked.flip(1).cumsum(1).flip(1)  # Σ of this rank and those beyond
        sure = ranked[:, :1] >= self.threshold * (ranked[:, :1] + tail)
        rank = torch.arange(logits.shape[1], device=logits.device).view(-1, *[1] * (logits.dim() - 2))
        # Once it holds for a rank it holds for those beyond.
        beyond = sure & (rank >= 2)
        negative = torch.zeros_like(beyond).scatter(1, order, beyond)
        trusted = points.confidence >= self.threshold
        top = torch.zeros_like(negative).scatter(1, points.label.unsqueeze(1), True)
        return self.select(points, trusted, negative=negative & ~top & ~trusted.unsqueeze(1))

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}"
