"""Rankings of any number of points, kept as counts in fixed fine bins of the score."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from residual_ssl.errors import InvalidInputError

# Bins have a relative width of 2⁻⁹ to 2⁻⁸ in the distance to the nearer end of [0, 1]: where a network is sure of most
# points, their scores differ by less than any even division of [0, 1] could tell. Weights exp(-z²) come as close to 0
# as a float can; to 1, no float comes closer than 2⁻⁵³.
_SUBDIVISION_BITS = 8
_FLOAT_BIAS, _MANTISSA_BITS = 127, 23
_SMALLEST_EXPONENT = (-126, -54)  # near 0, near 1
_FIRST_LEVEL = [(_FLOAT_BIAS + exponent) << _SUBDIVISION_BITS for exponent in _SMALLEST_EXPONENT]
# Level 0 is the end itself, level 1 begins next to it, the last is 1/2.
_LEVELS = [((_FLOAT_BIAS - 1) << _SUBDIVISION_BITS) - first + 2 for first in _FIRST_LEVEL]

#: Number of bins between 0 and 1.
BINS = sum(_LEVELS)


def score_bin(score: Tensor) -> Tensor:
    """Bin of each score in [0, 1], int64 in [0, :data:`BINS`), rising with the score; 0 and 1 have bins of their own.

    A bin reaches over 0.2 to 0.4 % of the distance to the nearer end of [0, 1]; the one next to 0 over 2⁻¹²⁶.
    The bin depends on the number alone, not on its dtype's or a device's rounding.

    Example:
        >>> import torch
        >>> score_bin(torch.tensor([0.0, 1e-30, 0.4, 0.4001, 0.41, 1 - 2e-7, 1 - 1e-7, 1.0])).diff() > 0
        tensor([ True,  True, False,  True,  True,  True,  True])
    """
    score = score if score.dtype == torch.float64 else score.float()
    lower = score < 0.5
    distance = torch.where(lower, score, 1 - score).float()
    # The leading bits of a float are its exponent and the place within the octave: logarithmic bins without logarithms,
    # whose rounding differs between vectorised and scalar code.
    leading = distance.contiguous().view(torch.int32) >> (_MANTISSA_BITS - _SUBDIVISION_BITS)
    level = (leading - torch.where(lower, _FIRST_LEVEL[0], _FIRST_LEVEL[1]) + 1).clamp(min=1)
    level = torch.where(distance > 0, level, 0).long()
    return torch.where(lower, level, BINS - 1 - level)


class BinnedRanking(NamedTuple):
    """What is left of a ranking's points: counts in bins, the least reliable bin first; each ``(groups · BINS,)``.

    Attributes:
        total, right: number of points and of right ones, int64.
        low, high: smallest and largest score, float64; +inf and -inf in an empty bin. Where they agree the points of
            the bin are tied in truth, and nothing was lost.
    """

    total: Tensor
    right: Tensor
    low: Tensor
    high: Tensor


#: How the fields of two parts of the data combine, in torchmetrics' words.
REDUCTIONS = {"total": "sum", "right": "sum", "low": "min", "high": "max"}


def empty_ranking(groups: int = 1) -> BinnedRanking:
    """The ranking of no points."""
    size = groups * BINS
    zeros, infinite = torch.zeros(size, dtype=torch.int64), torch.full((size,), torch.inf, dtype=torch.float64)
    return BinnedRanking(zeros, zeros.clone(), infinite, -infinite)


def extended(
    ranking: BinnedRanking, score: Tensor, right: Tensor, group: Tensor | None = None, *, name: str = "score"
) -> BinnedRanking:
    """A ranking with further points.

    Args:
        ranking: of the points so far.
        score: floating ``(N,)`` in [0, 1].
        right: bool ``(N,)``.
        group: int64 ``(N,)``; points of a higher group rank before all of a lower one.
        name: of the score in messages.

    Raises:
        InvalidInputError: a score outside [0, 1] or NaN.
    """
    if not ((score >= 0) & (score <= 1)).all():
        low, high = score.aminmax()
        raise InvalidInputError(
            f"{name}: got values from {low:g} to {high:g}, expected numbers in [0, 1]; a score of another range ranks "
            "the same after sigmoid"
        )
    bin_index = score_bin(score)
    if group is not None:
        bin_index = bin_index + group * BINS
    wide = score.double()
    return BinnedRanking(
        ranking.total.index_add(0, bin_index, torch.ones_like(bin_index)),
        ranking.right.index_add(0, bin_index, right.long()),
        ranking.low.scatter_reduce(0, bin_index, wide, "amin"),
        ranking.high.scatter_reduce(0, bin_index, wide, "amax"),
    )


class RankingCurve(NamedTuple):
    """Risk–coverage curve of a ranking kept in bins.

    The risk at ``n`` points is the error rate among the ``n`` most reliable ones; points of one bin count as tied, and
    ties as the mean over their orders, as in :func:`~residual_ssl.diagnostics.risk_coverage`. So it is exact at the
    end of each bin, and everywhere where a bin holds one score only. Within a bin of ``m`` different scores and ``e``
    errors it is off by at most ``e(m - e)/(m n) ≤ m/(4n)``.

    Attributes:
        taken: number of points up to and with each occupied bin, most reliable first, after a 0; float64 ``(M + 1,)``.
        errors: number of wrong ones among them; float64 ``(M + 1,)``.
        aurc: area under the curve, the mean risk over all numbers of points; NaN without points.
        aurc_error: largest possible difference from the exact area of all points; 0 where scores are discrete.
    """

    taken: Tensor
    errors: Tensor
    aurc: Tensor
    aurc_error: Tensor

    def risk_at(self, coverage: Tensor) -> Tensor:
        """Risk at coverages in (0, 1], float64 of their shape; NaN without points and at coverage 0."""
        taken, errors = self.taken.reshape(-1), self.errors.reshape(-1)
        points = coverage.to(taken) * taken[-1]
        if len(taken) == 1:
            return torch.full_like(points, torch.nan)
        right = torch.searchsorted(taken, points.contiguous()).clamp(1, len(taken) - 1)
        left = right - 1
        share = (points - taken[left]) / (taken[right] - taken[left])
        return (errors[left] + share * (errors[right] - errors[left])) / points

    def purity_at(self, coverage: Tensor) -> Tensor:
        """``1 - risk``, the share of right points, at coverages in (0, 1]."""
        return 1 - self.risk_at(coverage)


def ranking_curve(ranking: BinnedRanking) -> RankingCurve:
    """The curve of a ranking; on the CPU, in float64."""
    total, right, low, high = (field.cpu() for field in ranking)
    occupied = total.nonzero().flatten().flip(0)
    size = total[occupied].double()
    wrong = size - right[occupied].double()
    nothing = size.new_zeros(1)
    taken = torch.cat([nothing, size.cumsum(0)])
    errors = torch.cat([nothing, wrong.cumsum(0)])
    mean, best, worst = _risk_sums(taken[:-1], errors[:-1], size, wrong)
    loose = (low < high)[occupied]
    spread = torch.maximum((mean - best)[loose].sum(), (worst - mean)[loose].sum())
    return RankingCurve(taken, errors, mean.sum() / taken[-1], spread / taken[-1])


def _risk_sums(start: Tensor, errors: Tensor, size: Tensor, wrong: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sums of the risk over the points of each bin: mean over their orders, right ones first, wrong ones first.

    Args:
        start, errors: points and wrong ones before the bin; ``size``, ``wrong``: in it. All float64 ``(M,)``.
    """
    rate = wrong / size
    mean = wrong + (errors - rate * start) * _harmonic(start, start + size)
    turn = start + size - wrong
    best = errors * _harmonic(start, turn) + wrong + (errors - turn) * _harmonic(turn, start + size)
    turn = start + wrong
    worst = wrong + (errors - start) * _harmonic(start, turn) + (errors + wrong) * _harmonic(turn, start + size)
    return mean, best, worst


def _harmonic(low: Tensor, high: Tensor) -> Tensor:
    """``Σ 1/n`` over ``low < n ≤ high``."""
    return torch.digamma(high + 1) - torch.digamma(low + 1)
