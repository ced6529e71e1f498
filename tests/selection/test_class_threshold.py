"""Thresholds by class against their recurrences in plain Python."""

import pytest
import torch

from residual_ssl.errors import InvalidInputError
from residual_ssl.selection import FlexMatchThreshold, FreeMatchThreshold
from residual_ssl.testing import SelectorContract, random_logits


class TestCurriculum(SelectorContract):
    per_sample = False

    def make(self) -> FlexMatchThreshold:
        return FlexMatchThreshold(0.7, 0.5)


class TestSelfAdaptive(SelectorContract):
    per_sample = False

    def make(self) -> FreeMatchThreshold:
        return FreeMatchThreshold(0.5)


def test_the_curriculum_compares_each_class_with_the_best_or_with_what_is_unused() -> None:
    rule, share = FlexMatchThreshold(0.8, 0.4), [0.0] * 4
    for step in range(5):
        logits = random_logits((2, 4, 15), seed=step) * (4.0 if step < 4 else 0.3)
        confidence, label = logits.softmax(1).max(1)
        best = max(*share, 1 - sum(share))
        threshold = [0.8 * (s / best) / (2 - s / best) for s in share]
        expected = [
            [float(c >= threshold[y]) for c, y in zip(*row, strict=True)]
            for row in zip(confidence.tolist(), label.tolist(), strict=True)
        ]
        assert rule(logits).weight.tolist() == expected
        points = list(zip(confidence.flatten().tolist(), label.flatten().tolist(), strict=True))
        found = [sum(c >= 0.8 and y == k for c, y in points) / 30 for k in range(4)]
        share = [0.4 * old + 0.6 * new for old, new in zip(share, found, strict=True)]
    assert rule.confident.tolist() == pytest.approx(share, rel=1e-5)
    assert 0 < sum(map(sum, expected)) < 30


def test_the_self_adaptive_threshold_is_the_mean_confidence_scaled_by_what_is_predicted() -> None:
    rule, mean, shares = FreeMatchThreshold(0.7), 0.25, torch.full((4,), 0.25, dtype=torch.float64)
    for step in range(4):
        logits = random_logits((3, 4, 11), seed=step)
        p = logits.softmax(1)
        confidence, label = p.max(1)
        mean = 0.7 * mean + 0.3 * confidence.mean().item()
        shares = 0.7 * shares + 0.3 * p.mean((0, 2))
        threshold = mean * shares / shares.max()
        expected = confidence >= threshold[label]
        assert torch.equal(rule(logits).trusted, expected)
    assert rule.mean.item() == pytest.approx(mean, rel=1e-5)
    torch.testing.assert_close(rule.distribution.double(), shares, rtol=1e-5, atol=0)


def test_another_number_of_classes_than_before_is_refused() -> None:
    rule = FlexMatchThreshold()
    rule(random_logits((3, 4)))
    with pytest.raises(InvalidInputError, match=r"logits: got 5 classes, for which confident of FlexMatchThreshold"):
        rule(random_logits((3, 5)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FlexMatchThreshold(95), r"threshold: got 95, expected a number in \[0, 1\]"),
        (lambda: FreeMatchThreshold(1.0), r"momentum: got 1.0, expected a number in \[0, 1\)"),
    ],
)
def test_wrong_choices_are_named(make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidInputError, match=message):
        make()
