"""Figures of a ranking: against sums over its points, one by one."""

import pytest
import torch

from residual_ssl.diagnostics import augrc, coverage_at_risk
from residual_ssl.errors import InvalidInputError


def test_augrc_is_the_mean_share_of_points_that_are_wrong_and_selected() -> None:
    generator = torch.Generator().manual_seed(4)
    score = torch.rand(60, generator=generator, dtype=torch.float64)
    correct = torch.rand(60, generator=generator) < 0.7
    order = score.argsort(descending=True).tolist()
    wrong_and_selected = [sum(not correct[i] for i in order[:n]) / 60 for n in range(1, 61)]
    torch.testing.assert_close(augrc(score, correct).item(), sum(wrong_and_selected) / 60)


def test_coverage_at_risk_is_the_largest_one_within_it() -> None:
    generator = torch.Generator().manual_seed(5)
    score = torch.rand(50, generator=generator, dtype=torch.float64)
    correct = torch.rand(50, generator=generator) < 0.5 + score / 2
    order = score.argsort(descending=True).tolist()
    for risk in (0.0, 0.05, 0.2, 1.0):
        within = [n / 50 for n in range(1, 51) if sum(not correct[i] for i in order[:n]) / n <= risk]
        assert coverage_at_risk(score, correct, risk).item() == pytest.approx(max(within, default=0))
    assert coverage_at_risk(score[:0], correct[:0], 0.1).item() == 0
    with pytest.raises(InvalidInputError, match="risk: got 5"):
        coverage_at_risk(score, correct, 5)
