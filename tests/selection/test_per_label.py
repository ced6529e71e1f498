"""A selector for each label of a sample."""

import copy

import pytest
import torch

from residual_ssl.errors import InvalidInputError
from residual_ssl.selection import ConvexSelector, FixedThreshold, FreeMatchThreshold, OracleSelector, PerLabel
from residual_ssl.testing.predictions import assert_same, random_logits


def test_each_label_is_judged_as_if_it_were_alone() -> None:
    logits, valid = random_logits((6, 2, 3, 5)), torch.rand(6, 3, 5, generator=torch.Generator().manual_seed(0)) < 0.8
    chosen = PerLabel(ConvexSelector(scope="batch"), labels=3)(logits, valid)
    for label in range(3):
        alone = ConvexSelector(scope="batch")(logits[:, :, label], valid[:, label])
        part = chosen.map(lambda points, label=label: points[:, label])  # type: ignore[misc]
        assert_same(part, alone)


def test_thresholds_that_move_differ_between_labels_of_different_confidence() -> None:
    generator = torch.Generator().manual_seed(0)
    scale = torch.tensor([1.0, 8.0])  # one hard label, one easy
    selector, together = PerLabel(FreeMatchThreshold(momentum=0.5), labels=2), FreeMatchThreshold(momentum=0.5)
    for _ in range(20):
        z = torch.randn(64, 2, generator=generator) * scale
        logits = torch.stack([torch.zeros_like(z), z], 1)
        selector(logits), together(logits)
    hard, easy = (each.mean.item() for each in selector.selectors)
    assert hard < together.mean.item() < easy
    restored = PerLabel(FreeMatchThreshold(momentum=0.5), labels=2)
    restored.load_state_dict(copy.deepcopy(selector.state_dict()))
    assert_same(restored.eval()(logits), selector.eval()(logits))


def test_evidence_and_labels_reach_the_selector_of_their_label() -> None:
    logits, truth = random_logits((8, 2, 4)), torch.arange(32).reshape(8, 4) % 2
    chosen = PerLabel(OracleSelector(), labels=4)(logits, truth=truth)
    assert torch.equal(chosen.trusted, logits.argmax(1) == truth)


def test_another_number_of_labels_is_named() -> None:
    with pytest.raises(InvalidInputError, match=r"logits: got shape \(4, 2, 3\), expected \(B, K, 5, \*S\)"):
        PerLabel(FixedThreshold(), labels=5)(torch.zeros(4, 2, 3))


def test_a_threshold_for_each_class() -> None:
    # σ(2) = .88, σ(3) = .95, and as much for the absent
    z = torch.tensor([[2.0, 3.0, -2.0, -3.0]])
    logits = torch.stack([torch.zeros_like(z), z], 1)
    assert FixedThreshold([0.9, 0.85])(logits).trusted.tolist() == [[True, True, False, True]]
    assert "by_class" not in FixedThreshold([0.9, 0.85]).state_dict()
    with pytest.raises(InvalidInputError, match="threshold: got 3 thresholds for 2 classes"):
        FixedThreshold([0.9, 0.8, 0.7])(logits)
    with pytest.raises(InvalidInputError, match=r"threshold: got \[0.9, 2\], expected a number in \[0, 1\]"):
        FixedThreshold([0.9, 2])
