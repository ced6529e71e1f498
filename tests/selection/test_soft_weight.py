"""Weights by confidence and by entropy against their formulas."""

import math

import pytest
import torch

from residual_ssl.errors import InvalidInputError
from residual_ssl.selection import ConfidenceWeight, EntropyWeight
from residual_ssl.testing import SelectorContract, random_logits


class TestConfidence(SelectorContract):
    def make(self) -> ConfidenceWeight:
        return ConfidenceWeight(0.4, 0.8, 2.0)


class TestEntropy(SelectorContract):
    def make(self) -> EntropyWeight:
        return EntropyWeight()


def test_confidence_weighs_in_full_in_part_or_not_at_all() -> None:
    logits = random_logits((30, 5))
    chosen = ConfidenceWeight(0.4, 0.8, 2.0)(logits)
    confidence = logits.softmax(1).amax(1).tolist()
    expected = [1.0 if c >= 0.8 else c**2 if c >= 0.4 else 0.0 for c in confidence]
    assert chosen.weight.tolist() == pytest.approx(expected)
    assert chosen.trusted.tolist() == [c >= 0.8 for c in confidence]
    assert {min(expected), max(expected)} == {0.0, 1.0}


def test_entropy_weighs_by_the_distance_from_a_guess() -> None:
    logits = random_logits((20, 6))
    expected = [1 + sum(v * math.log(v) for v in p) / math.log(6) for p in logits.softmax(1).tolist()]
    assert EntropyWeight()(logits).weight.tolist() == pytest.approx(expected)
    assert EntropyWeight()(torch.zeros(1, 6)).weight.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"low": 0.9, "high": 0.5}, "low: got 0.9, expected at most high, 0.5"), ({"power": 0}, "power: got 0")],
)
def test_wrong_choices_are_named(options: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        ConfidenceWeight(**options)
