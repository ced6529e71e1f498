"""ShrinkMatchThreshold against the search class by class that the paper describes."""

import pytest
import torch

from residual_ssl.errors import InvalidInputError
from residual_ssl.losses import selected_cross_entropy
from residual_ssl.selection import ShrinkMatchThreshold
from residual_ssl.testing import SelectorContract, random_logits


class TestContract(SelectorContract):
    def make(self) -> ShrinkMatchThreshold:
        return ShrinkMatchThreshold(0.7)


def negatives(p: list[float], threshold: float) -> set[int]:
    order = sorted(range(len(p)), key=lambda k: -p[k])
    if p[order[0]] >= threshold:
        return set()
    for m in range(2, len(p)):
        rest = order[m:]
        if p[order[0]] / (p[order[0]] + sum(p[k] for k in rest)) >= threshold:
            return set(rest)
    return set()


def test_negative_labels_are_what_is_left_once_enough_rivals_are_set_aside() -> None:
    logits = random_logits((80, 6))
    chosen = ShrinkMatchThreshold(0.85)(logits)
    found = [set(row.nonzero()[:, 0].tolist()) for row in chosen.negative]
    expected = [negatives(p, 0.85) for p in logits.softmax(1).tolist()]
    assert found == expected
    assert len({len(s) for s in expected}) > 2
    assert torch.equal(chosen.trusted, logits.softmax(1).amax(1) >= 0.85)


def test_a_point_torn_between_all_classes_has_none_and_the_loss_stays_finite() -> None:
    logits = torch.zeros(2, 5)
    chosen = ShrinkMatchThreshold()(logits)
    assert not chosen.negative.any()
    assert selected_cross_entropy(logits, chosen) == 0


def test_a_wrong_threshold_is_named() -> None:
    with pytest.raises(InvalidInputError, match="threshold: got 95"):
        ShrinkMatchThreshold(95)
