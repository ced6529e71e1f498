"""Rules that compare two predictions of the same points: two models, two heads, or teacher and student."""

from __future__ import annotations

import torch
from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.selection.arguments import check_confidence
from residual_ssl.selection.features import JudgedPoints, judged_points
from residual_ssl.selection.points.point_features import check_second
from residual_ssl.selection.points.probabilities import log_probabilities
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector


def judged_pair(logits: Tensor, valid: Tensor | None, second: Tensor) -> tuple[JudgedPoints, JudgedPoints]:
    """Both predictions' points, valid where both are finite."""
    check_second(second, logits)
    first = judged_points(logits, valid)
    other = judged_points(second.detach().to(logits.dtype), valid)
    both = first.valid & other.valid
    nothing = torch.zeros_like(first.confidence)
    first, other = (
        points._replace(
            valid=both,
            finite=first.finite & other.finite,
            confidence=torch.where(both, points.confidence, nothing),
            residual=torch.where(both, points.residual, nothing),
        )
        for points in (first, other)
    )
    return first, other


class AgreementThreshold(Selector):
    """Trust points to which both predictions give the same label, both with confidence.

    Formula: ``w = 1[y = y₂, c ≥ τ, c₂ ≥ τ]``, τ = .95

    State: none.

    Cost: two passes, and a second prediction.

    Use: two models or a past one, at τ = 0 for agreement alone: it drops what only one of them is sure of.

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

    def __init__(self, threshold: float = 0.95) -> None:
        super().__init__()
        check_confidence(threshold=threshold)
        self.threshold = threshold

    def forward(self, logits: Tensor, valid: Tensor | None = None, *, second: Tensor) -> Selection:  # type: ignore[override]
        points, other = judged_pair(logits, valid, second)
        sure = torch.minimum(points.confidence, other.confidence) >= self.threshold
        return self.select(points, sure & (points.label == other.label))

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}"


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

    def __init__(self, agree: float = 5.0, disagree: float = 5.0) -> None:
        super().__init__()
        for name, value in (("agree", agree), ("disagree", disagree)):
            if not value >= 0:
                raise InvalidInputError(f"{name}: got {value}, expected an exponent ≥ 0")
        self.agree = agree
        self.disagree = disagree

    def forward(self, logits: Tensor, valid: Tensor | None = None, *, second: Tensor) -> Selection:  # type: ignore[override]
        points, other = judged_pair(logits, valid, second)
        log_p = log_probabilities(second, other).gather(1, points.label.unsqueeze(1)).squeeze(1)
        same = points.label == other.label
        overruled = ~same & (points.confidence.detach() >= other.confidence)
        zero = torch.zeros_like(log_p)
        weight = torch.where(
            same, (self.agree * log_p).exp(), torch.where(overruled, (self.disagree * log_p).exp(), zero)
        )
        return self.select(points, weight == 1, weight.to(points.confidence.dtype))

    def extra_repr(self) -> str:
        return f"agree={self.agree}, disagree={self.disagree}"


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

    def __init__(self, threshold: float = 0.8) -> None:
        super().__init__()
        check_confidence(threshold=threshold)
        self.threshold = threshold

    def forward(self, logits: Tensor, valid: Tensor | None = None, *, second: Tensor) -> Selection:  # type: ignore[override]
        points, other = judged_pair(logits, valid, second)
        logs, theirs = log_probabilities(logits, points), log_probabilities(second, other).to(points.confidence.dtype)
        divergence = (logs.exp() * (logs - theirs)).sum(1).clamp(min=0)
        weight = torch.where(points.confidence >= self.threshold, torch.exp(-divergence), 0.0)
        return self.select(points, weight == 1, weight)

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}"
