"""Rankings kept in bins against the exact ones."""

import itertools

import pytest
import torch
from torch import Tensor

from residual_ssl.diagnostics import RankingCurve, aurc, risk_coverage
from residual_ssl.diagnostics.binned import BINS, empty_ranking, extended, ranking_curve, score_bin
from residual_ssl.errors import InvalidInputError

LEVELS = torch.tensor([0.0, 1e-40, 1e-12, 0.2, 0.5, 0.75, 1 - 2**-24, 1.0], dtype=torch.float64)


def curve_of(score: Tensor, right: Tensor) -> RankingCurve:
    return ranking_curve(extended(empty_ranking(), score, right))


def random_points(kind: str, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Scores that say something of correctness: discrete, crowded at an end, spread out, or some of each."""
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(count, generator=generator, dtype=torch.float64)
    scores = {
        "discrete": LEVELS[(uniform * len(LEVELS)).long()],
        "even": uniform,
        "sure": 1 - uniform.pow(6) * 1e-3,
        "float32": (1 - uniform.pow(6)).float(),
        "near 0": (-80 * uniform).exp(),
        "mixed": torch.where(uniform < 0.4, 1.0, torch.where(uniform > 0.8, 0.0, uniform)),
    }
    score = scores[kind]
    return score, torch.rand(count, generator=generator, dtype=torch.float64) < 0.3 + 0.6 * score


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_bins_rise_with_the_score_and_depend_on_the_number_alone(dtype: torch.dtype) -> None:
    spread = torch.linspace(-90, 20, 20_001, dtype=torch.float64).sigmoid().to(dtype)
    score = torch.cat([spread, LEVELS.to(dtype)]).sort().values
    bins = score_bin(score)
    assert (bins.diff() >= 0).all()
    assert (bins.min(), bins.max()) == (0, BINS - 1)
    assert torch.equal(bins, score_bin(score.double()))
    inner = bins[(score > 0) & (score < 1)]
    assert (inner.min() > 0) & (inner.max() < BINS - 1)


def test_a_bin_spans_two_to_four_thousandths_of_the_distance_to_the_nearer_end() -> None:
    for distance in (0.4, 1e-3, 1e-8):
        for score, away in ((distance, distance), (1 - distance, -distance)):
            near, far = (torch.tensor([score, score + part * away], dtype=torch.float64) for part in (0.0019, 0.004))
            assert score_bin(near).diff().abs() <= 1, score
            assert 1 <= score_bin(far).diff().abs() <= 3, score


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["discrete", "even", "sure", "float32", "near 0", "mixed"])
def test_the_binned_curve_is_within_its_stated_bound_of_the_exact_one(kind: str, seed: int) -> None:
    score, right = random_points(kind, 3000, seed)
    curve = curve_of(score, right)
    coverage, risk = risk_coverage(score, right)
    found = curve.risk_at(coverage)
    assert not found.isnan().any()
    bins = score_bin(score.sort(descending=True).values)
    size = torch.bincount(bins, minlength=BINS)[bins].double()
    assert ((found - risk).abs() <= size / (4 * torch.arange(1, 3001)) + 1e-12).all()
    assert (curve.aurc - aurc(score, right)).abs() <= curve.aurc_error + 1e-12
    assert curve.aurc_error < 2e-3
    last = torch.cat([bins.diff() != 0, torch.tensor([True])])
    torch.testing.assert_close(found[last], risk[last], rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_discrete_scores_lose_nothing(seed: int) -> None:
    score, right = random_points("discrete", 500, seed)
    curve = curve_of(score, right)
    coverage, risk = risk_coverage(score, right)
    assert curve.aurc_error == 0
    torch.testing.assert_close(curve.risk_at(coverage), risk, rtol=0, atol=1e-12)
    torch.testing.assert_close(curve.aurc, aurc(score, right), rtol=0, atol=1e-12)


def test_the_bound_on_the_area_is_that_of_the_worst_order_within_a_bin() -> None:
    close = 0.3 + 1e-6 * torch.arange(6, dtype=torch.float64)
    assert len(score_bin(close).unique()) == 1
    better = torch.tensor([0.8, 0.9], dtype=torch.float64)
    areas = []
    for wrong in itertools.combinations(range(6), 2):
        right = torch.tensor([i not in wrong for i in range(6)] + [True, False])
        curve = curve_of(torch.cat([close, better]), right)
        areas.append(aurc(torch.cat([close, better]), right))
    expected = max(max(areas) - curve.aurc, curve.aurc - min(areas))
    torch.testing.assert_close(curve.aurc_error, expected)


def test_groups_rank_before_their_scores() -> None:
    score, right = random_points("even", 400, seed=0)
    group = (score * 1000).long() % 3
    curve = ranking_curve(extended(empty_ranking(3), score, right, group))
    exact = aurc(group + score / 2, right)
    assert (curve.aurc - exact).abs() <= curve.aurc_error
    assert curve.aurc_error < 5e-3


def test_no_point_has_no_risk() -> None:
    curve = ranking_curve(empty_ranking())
    assert curve.aurc.isnan()
    assert curve.risk_at(torch.tensor([0.5])).isnan().all()


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_score_that_is_no_share_is_named(value: float) -> None:
    with pytest.raises(InvalidInputError, match=r"score: got values from .* expected numbers in \[0, 1\]"):
        extended(empty_ranking(), torch.tensor([0.5, value]), torch.tensor([True, False]))
