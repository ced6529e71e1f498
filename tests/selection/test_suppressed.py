"""SuppressedConsistency against its formula, written out."""

import pytest
import torch

from residual_ssl import FixedThreshold
from residual_ssl.errors import InvalidInputError
from residual_ssl.selection import SoftMatchWeight, SuppressedConsistency, TrustAll
from residual_ssl.testing import SelectorContract, labels_for, random_logits


class TestWithThreshold(SelectorContract):
    def make(self) -> SuppressedConsistency:
        return SuppressedConsistency(FixedThreshold(0.6))


class TestWithMemory(SelectorContract):
    per_sample = False

    def make(self) -> SuppressedConsistency:
        return SuppressedConsistency(SoftMatchWeight(momentum=0.5), 0.3)


def test_rates_follow_the_labels_that_were_seen() -> None:
    selector = SuppressedConsistency(TrustAll(), 0.25)
    logits = random_logits((3, 5, 6))
    assert selector(logits).weight.eq(1).all()  # nothing is known yet
    counts = [0] * 5
    for step in range(3):
        labels = labels_for(random_logits((4, 5, 7), seed=step), step)
        selector.update_from_labels(torch.zeros(4, 5, 7), labels)
        for k in range(5):
            counts[k] += int((labels == k).sum())
    chosen = selector(logits)
    expected = [[0.25 ** (1 - counts[k] / max(counts)) for k in row] for row in chosen.label.tolist()]
    torch.testing.assert_close(chosen.weight, torch.tensor(expected, dtype=torch.float64))
    most = torch.tensor(counts) == max(counts)
    assert torch.equal(chosen.trusted, most[chosen.label])


def test_a_base_of_one_changes_nothing_and_others_are_refused() -> None:
    selector = SuppressedConsistency(FixedThreshold(0.6), 1.0)
    selector.update_from_labels(torch.zeros(3, 5), torch.tensor([0, 0, 1]))
    logits = random_logits((4, 5))
    assert torch.equal(selector(logits).weight, FixedThreshold(0.6)(logits).weight)
    with pytest.raises(InvalidInputError, match="base: got 0"):
        SuppressedConsistency(TrustAll(), 0)
