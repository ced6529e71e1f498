"""SharpenedThreshold: the targets are softmax(x/T), the weights those of the unsharpened confidence."""

import math

import pytest
import torch

from residual_ssl.errors import InvalidInputError
from residual_ssl.selection import SharpenedThreshold, TrustAll
from residual_ssl.testing import SelectorContract, random_logits


class TestContract(SelectorContract):
    def make(self) -> SharpenedThreshold:
        return SharpenedThreshold(0.6, 0.5)


def test_targets_and_weights_are_those_of_the_formula() -> None:
    logits = random_logits((4, 3), seed=3)
    chosen = SharpenedThreshold(0.7, 0.4)(logits)
    for x, target, weight in zip(logits.tolist(), chosen.target, chosen.weight, strict=True):
        plain, sharp = ([math.exp(v / t) for v in x] for t in (1.0, 0.4))
        assert weight == float(max(plain) / sum(plain) >= 0.7)
        torch.testing.assert_close(target, torch.tensor([v / sum(sharp) for v in sharp], dtype=torch.float64))
    assert 0 < chosen.coverage < 1


def test_without_threshold_and_sharpening_every_point_is_taught_its_probabilities() -> None:
    logits = random_logits((2, 4, 6))
    chosen = SharpenedThreshold(0.0, 1.0)(logits)
    torch.testing.assert_close(chosen.target, logits.softmax(1))
    assert torch.equal(chosen.weight, TrustAll()(logits).weight)


def test_targets_carry_no_gradient() -> None:
    logits = random_logits((2, 4)).requires_grad_()
    assert not SharpenedThreshold()(logits).target.requires_grad


@pytest.mark.parametrize(
    ("options", "message"),
    [({"threshold": 80}, r"threshold: got 80, expected a number"), ({"temperature": 0}, r"temperature: got 0")],
)
def test_wrong_choices_are_named(options: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        SharpenedThreshold(**options)
