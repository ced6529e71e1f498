"""Figures of a ranking against their definitions."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from residual_ssl.diagnostics import aurc, risk_coverage
from residual_ssl.errors import InvalidInputError


def brute_force_risk(score: list[float], correct: list[bool]) -> list[float]:
    """Mean of the risks over every order of the points that agrees with the score."""
    points = range(len(score))
    orders = [
        order
        for order in itertools.permutations(points)
        if all(score[a] >= score[b] for a, b in itertools.pairwise(order))
    ]
    return [
        sum(sum(not correct[i] for i in order[:n]) / n for order in orders) / len(orders)
        for n in range(1, len(score) + 1)
    ]


@pytest.mark.parametrize("seed", range(8))
def test_risk_is_the_mean_over_all_orders_of_tied_points(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    score = torch.randint(0, 3, (7,), generator=generator).double()
    correct = torch.rand(7, generator=generator) < 0.5
    coverage, risk = risk_coverage(score, correct)
    expected = brute_force_risk(score.tolist(), correct.tolist())
    torch.testing.assert_close(risk, torch.tensor(expected, dtype=torch.float64))
    torch.testing.assert_close(coverage, torch.arange(1, 8, dtype=torch.float64) / 7)
    assert math.isclose(aurc(score, correct).item(), sum(expected) / 7)


def test_a_score_that_says_nothing_has_the_error_rate_everywhere() -> None:
    correct = torch.tensor([True, False, True, True, False])
    torch.testing.assert_close(risk_coverage(torch.zeros(5), correct)[1], torch.full((5,), 0.4, dtype=torch.float64))


def test_a_monotone_change_of_the_score_changes_nothing_and_truth_ranks_best() -> None:
    generator = torch.Generator().manual_seed(0)
    score = torch.randn(4, 50, generator=generator, dtype=torch.float64)
    correct = torch.rand(4, 50, generator=generator) < score.sigmoid()
    assert aurc(score.exp(), correct) == aurc(score, correct)
    assert aurc(correct.double(), correct) < aurc(score, correct) < aurc(-score, correct)


def test_points_at_minus_infinity_come_last() -> None:
    risk = risk_coverage(torch.tensor([-torch.inf, 1.0, 0.0]), torch.tensor([False, True, True]))[1]
    torch.testing.assert_close(risk, torch.tensor([0.0, 0.0, 1 / 3], dtype=torch.float64))


def test_no_point_has_no_area() -> None:
    assert aurc(torch.zeros(0), torch.zeros(0, dtype=torch.bool)).isnan()


@pytest.mark.parametrize(
    ("score", "correct", "message"),
    [
        (torch.zeros(3), torch.zeros(2, dtype=torch.bool), r"of shape \(3,\) and torch.bool of shape \(2,\)"),
        (torch.zeros(3), torch.zeros(3), r"and torch.float32 of shape \(3,\)"),
        (torch.tensor([0.0, torch.nan]), torch.ones(2, dtype=torch.bool), "score: got NaN"),
    ],
)
def test_wrong_arguments_of_a_ranking_are_named(score: Tensor, correct: Tensor, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        risk_coverage(score, correct)
