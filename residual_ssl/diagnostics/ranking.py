"""How good a ranking by reliability is, exactly, with all points in memory."""

from __future__ import annotations

import torch
from torch import Tensor

from residual_ssl.errors import InvalidInputError


@torch.no_grad()
def risk_coverage(score: Tensor, correct: Tensor) -> tuple[Tensor, Tensor]:
    """Risk–coverage curve of a ranking: the error rate among the points of highest score, for every number of them.

    The order among points of equal score is not known; the risk is the mean over all of their orders.

    Args:
        score: larger is more reliable, floating, any shape of N points; infinite values rank, NaN does not.
        correct: bool, of the same shape: whether the label of the point is right.

    Returns:
        ``coverage``, ``1/N, 2/N, …, 1``, and ``risk`` in [0, 1], the share of wrong points among the ``n`` most
        reliable ones; both float64 ``(N,)``. Purity at a coverage is ``1 - risk`` there.

    Raises:
        InvalidInputError: other shapes or dtypes, a NaN score.

    Source: Y. Geifman and R. El-Yaniv, Selective classification for deep neural networks, NeurIPS 2017.

    Example:
        >>> import torch
        >>> coverage, risk = risk_coverage(torch.tensor([0.9, 0.8, 0.7, 0.6]), torch.tensor([True, True, False, True]))
        >>> [round(value, 2) for value in risk.tolist()]
        [0.0, 0.0, 0.33, 0.25]
    """
    _check(score, correct, "correct")
    ordered, order = score.flatten().sort(descending=True)
    errors = (~correct.flatten()[order]).double().cumsum(0)
    _, group, size = ordered.unique_consecutive(return_inverse=True, return_counts=True)  # type: ignore[no-untyped-call]
    end = size.cumsum(0)
    at_end = errors[end - 1]
    at_start = torch.cat([at_end.new_zeros(min(1, len(at_end))), at_end[:-1]])
    count = torch.arange(1, len(ordered) + 1, dtype=torch.float64, device=score.device)
    # Within a group of equal scores, the expected number of errors grows linearly.
    share = (count - (end - size)[group]) / size[group]
    expected = at_start[group] + share * (at_end - at_start)[group]
    return count / len(ordered), expected / count


def aurc(score: Tensor, correct: Tensor) -> Tensor:
    """Area under the risk–coverage curve, the mean risk over all coverages: lower is a better ranking.

    Args, Raises and Source as :func:`risk_coverage`.

    Returns:
        A float64 scalar in [0, 1]; the error rate for a score that says nothing, NaN without points.

    Example:
        >>> import torch
        >>> correct = torch.tensor([True, False])
        >>> [aurc(torch.tensor(score), correct).item() for score in ([1.0, 0.0], [0.5, 0.5], [0.0, 1.0])]
        [0.25, 0.5, 0.75]
    """
    return risk_coverage(score, correct)[1].mean()


def augrc(score: Tensor, correct: Tensor) -> Tensor:
    """Area under the generalised risk–coverage curve: how often a point is wrong *and* selected, over all coverages.

    Unlike :func:`aurc` it does not count errors among the most reliable points again at every larger coverage; the two
    can order scores differently.

    Args and Raises as :func:`risk_coverage`.

    Returns:
        A float64 scalar ≥ 0, about half of the error rate for a score that says nothing; NaN without points.

    Source: J. Traub et al., Overcoming common flaws in the evaluation of selective classification systems, NeurIPS
    2024, arXiv 2407.01032.

    Example:
        >>> import torch
        >>> correct = torch.tensor([True, False])
        >>> [augrc(torch.tensor(score), correct).item() for score in ([1.0, 0.0], [0.5, 0.5], [0.0, 1.0])]
        [0.25, 0.375, 0.5]
    """
    coverage, risk = risk_coverage(score, correct)
    return (coverage * risk).mean()


def coverage_at_risk(score: Tensor, correct: Tensor, risk: float) -> Tensor:
    """The largest coverage of a ranking at which no more than a share ``risk`` of the selected points is wrong.

    Args:
        score, correct: as of :func:`risk_coverage`.
        risk: in [0, 1].

    Returns:
        A float64 scalar in [0, 1]; 0 where even the most reliable points are wrong more often.

    Raises:
        InvalidInputError: as :func:`risk_coverage`; a risk outside [0, 1].

    Example:
        >>> import torch
        >>> correct = torch.tensor([True, True, False, True])
        >>> coverage_at_risk(torch.tensor([0.9, 0.8, 0.7, 0.6]), correct, 0.25).item()
        1.0
    """
    if not 0 <= risk <= 1:
        raise InvalidInputError(f"risk: got {risk}, expected a share in [0, 1]")
    coverage, found = risk_coverage(score, correct)
    return torch.where(found <= risk, coverage, torch.zeros_like(coverage)).amax() if len(coverage) else found.sum()


@torch.no_grad()
def auroc(score: Tensor, positive: Tensor) -> Tensor:
    """Area under the ROC curve: how often a positive point has a higher score than a negative one, ties half.

    For the detection of unknown classes the positive points are those of none of the classes, whatever their score is:
    one minus the confidence, or what a detector says.

    Args:
        score: floating, any shape; infinite values rank, NaN does not.
        positive: bool, of the same shape.

    Returns:
        A float64 scalar in [0, 1]: ½ for a score that says nothing, NaN where all points or none are positive.

    Raises:
        InvalidInputError: as of :func:`risk_coverage`.

    Example:
        >>> import torch
        >>> auroc(torch.tensor([0.9, 0.4, 0.4, 0.1]), torch.tensor([True, True, False, False])).item()
        0.875
    """
    _check(score, positive, "positive")
    _, rank, count = score.flatten().unique(return_inverse=True, return_counts=True)  # type: ignore[no-untyped-call]
    # The mean of the ranks that points of equal score share.
    middle = (count.cumsum(0) - (count - 1) / 2).double()[rank]
    positives = positive.sum().double()
    negatives = positive.numel() - positives
    wins = middle[positive.flatten()].sum() - positives * (positives + 1) / 2
    area: Tensor = wins / (positives * negatives)
    return area


def _check(score: Tensor, mark: Tensor, name: str) -> None:
    if not score.is_floating_point() or mark.dtype != torch.bool or score.shape != mark.shape:
        raise InvalidInputError(
            f"score, {name}: got {score.dtype} of shape {tuple(score.shape)} and {mark.dtype} of shape "
            f"{tuple(mark.shape)}, expected a floating and a bool tensor of one shape"
        )
    if score.isnan().any():
        raise InvalidInputError("score: got NaN, expected numbers that rank; leave these points out or give them -inf")
