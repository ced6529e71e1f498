"""Thresholds from labelled points: AdaMatch's and Dash's, point by point."""

import math

import pytest
import torch

from residual_ssl.errors import InvalidInputError
from residual_ssl.selection import AdaMatchThreshold, DashThreshold
from residual_ssl.testing import SelectorContract, labels_for, random_logits


class TestRelative(SelectorContract):
    def make(self) -> AdaMatchThreshold:
        return AdaMatchThreshold(0.8)


class TestLoss(SelectorContract):
    def make(self) -> DashThreshold:
        return DashThreshold(40, decay=1.5, smallest=0.3)

    def test_two_classes(self) -> None:
        chosen = DashThreshold(40)(random_logits((2, 2, 8, 8)))
        assert chosen.coverage == 1  # no loss to its own label exceeds log 2, that of a guess


@pytest.mark.parametrize("momentum", [0.0, 0.7])
def test_the_relative_threshold_is_a_share_of_the_labelled_confidence(momentum: float) -> None:
    rule, mean = AdaMatchThreshold(0.9, momentum), 1.0
    for step in range(3):
        labelled, logits = random_logits((8, 4), seed=30 + step), random_logits((8, 4), seed=step)
        target = labels_for(labelled, step)
        rule.update_from_labels(labelled, target)
        known = labelled.softmax(1).amax(1)[target != 255]
        mean = momentum * mean + (1 - momentum) * known.mean().item()
        assert torch.equal(rule(logits).trusted, logits.softmax(1).amax(1) >= 0.9 * rule.labelled.double())
        assert rule.labelled.item() == pytest.approx(mean, rel=1e-6)


def test_labelled_points_without_a_label_do_not_count() -> None:
    rule = AdaMatchThreshold()
    rule.update_from_labels(random_logits((3, 4)), torch.full((3,), 255))
    assert rule.labelled == 1


def test_the_loss_bound_starts_at_the_labelled_loss_and_shrinks_by_stages() -> None:
    rule = DashThreshold(20, decay=2.0, scale=1.1, smallest=0.2, stages=5, warmup=0.1)
    losses: list[float] = []
    for step in range(22):
        labelled, logits = random_logits((8, 4), seed=30 + step), random_logits((40, 4), seed=step)
        target = labels_for(labelled, step)
        rule.update_from_labels(labelled, target)
        if step <= 2:
            log_p = labelled.log_softmax(1)
            losses += [-log_p[i, y].item() for i, y in enumerate(target.tolist()) if y != 255]
        stage = min(step, 20) * 5 // 20
        bound = max(1.1 * 2.0**-stage * sum(losses) / len(losses), 0.2)
        own = -logits.log_softmax(1).amax(1)
        assert torch.equal(rule(logits).trusted, own <= bound), step
    assert bound == 0.2


def test_without_labels_the_bound_starts_at_the_loss_of_a_guess() -> None:
    logits = torch.tensor([[math.log(0.3), math.log(0.25), math.log(0.25), math.log(0.2)]])
    assert DashThreshold(9)(logits).trusted.all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AdaMatchThreshold(9), "fraction: got 9"),
        (lambda: DashThreshold(9, decay=0), "decay: got 0, expected a number > 0"),
        (lambda: DashThreshold(9, warmup=2), "warmup: got 2"),
    ],
)
def test_wrong_choices_are_named(make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidInputError, match=message):
        make()
