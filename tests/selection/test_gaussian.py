"""SoftMatchWeight against its recurrence in plain Python."""

import math
import statistics

import pytest
import torch

from residual_ssl.errors import InvalidInputError
from residual_ssl.selection import SoftMatchWeight
from residual_ssl.testing import SelectorContract, random_logits


class TestContract(SelectorContract):
    per_sample = False

    def make(self) -> SoftMatchWeight:
        return SoftMatchWeight(momentum=0.5)


def test_weights_follow_the_running_mean_and_variance() -> None:
    rule, mean, variance = SoftMatchWeight(1.5, 0.6), 1 / 5, 1.0
    for step in range(4):
        logits = random_logits((2, 5, 9), seed=step)
        valid = torch.rand(2, 9, generator=torch.Generator().manual_seed(step)) < 0.7
        chosen = rule(logits, valid)
        confidence = logits.softmax(1).amax(1)[valid].tolist()
        mean = 0.6 * mean + 0.4 * statistics.mean(confidence)
        variance = 0.6 * variance + 0.4 * statistics.variance(confidence)
        expected = [math.exp(-((1.5 * min(c - mean, 0)) ** 2) / (2 * variance)) for c in confidence]
        assert chosen.weight[valid].tolist() == pytest.approx(expected, rel=1e-5)
        assert chosen.trusted[valid].tolist() == [c >= mean for c in confidence]


def test_a_single_point_leaves_the_variance_alone() -> None:
    rule = SoftMatchWeight(momentum=0.0)
    rule(random_logits((1, 3)))
    assert rule.variance.item() == 1


@pytest.mark.parametrize(
    ("options", "message"), [({"sigmas": 0}, "sigmas: got 0"), ({"momentum": 2}, "momentum: got 2")]
)
def test_wrong_choices_are_named(options: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        SoftMatchWeight(**options)
