"""DMT: weights by the probability that a second model gives the pseudo-label."""

from __future__ import annotations

import torch
from torch import Tensor

from residual_ssl.runtime.arguments import NotNegative, checked
from residual_ssl.selection.features import JudgedPoints
from residual_ssl.selection.points.pair import judged_pair
from residual_ssl.selection.points.probabilities import log_probability_of
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector


class DMTWeight(Selector):
    """Weigh the labels of one model by the probability that the other, which they teach, gives them.

    The prediction that is judged is the teacher's; the second is that of the model to be taught.

    Formula: ``w = p₂(y)^γ₁`` where ``y = y₂``; ``p₂(y)^γ₂`` where ``y ≠ y₂`` and ``c ≥ c₂``; else 0; γ₁ = γ₂ = 5

    State: none.

    Cost: three passes, and a second prediction.

    Use: two models that teach each other, or a student beside its teacher: labels that it finds strange teach little.

    Source: DMT, arXiv 2004.08514, eq. 6. The share of unlabelled data that grows from 20 % to 100 % there is
    :class:`TopFraction`.

    Args:
        agree, disagree: γ₁ and γ₂, ≥ 0.

    ``forward`` takes ``second``, logits ``(B, K, *S)`` of the same points.

    Example:
        >>> import torch
        >>> first, second = torch.tensor([[4.0, 0.0], [4.0, 0.0]]), torch.tensor([[3.5, 0.0], [0.0, 4.1]])
        >>> DMTWeight()(first, second=second).weight
        tensor([0.8618, 0.0000])
    """

    evidence = ("second",)

    @checked
    def __init__(self, agree: NotNegative = 5.0, disagree: NotNegative = 5.0) -> None:
        super().__init__()
        self.agree = agree
        self.disagree = disagree

    def judge(self, points: JudgedPoints, logits: Tensor, *, second: Tensor) -> Selection:
        points, other = judged_pair(points, logits, second)
        log_p = log_probability_of(second, other, points.label)
        same = points.label == other.label
        overruled = ~same & (points.confidence.detach() >= other.confidence)
        zero = torch.zeros_like(log_p)
        weight = torch.where(
            same, (self.agree * log_p).exp(), torch.where(overruled, (self.disagree * log_p).exp(), zero)
        )
        return self.select(points, weight == 1, weight.to(points.confidence.dtype))

    def extra_repr(self) -> str:
        return f"agree={self.agree}, disagree={self.disagree}"
