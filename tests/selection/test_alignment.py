"""DistributionAlignment against the ratio of wanted and predicted shares, written out."""

import pytest
import torch

from residual_ssl import FixedThreshold
from residual_ssl.errors import InvalidInputError
from residual_ssl.selection import (
    AdaMatchThreshold,
    DistributionAlignment,
    DMTWeight,
    SharpenedThreshold,
    SoftMatchWeight,
    U2PLThreshold,
)
from residual_ssl.testing import SelectorContract, labels_for, random_logits


class TestAdaMatch(SelectorContract):
    per_sample = False
    own_label = False

    def make(self) -> DistributionAlignment:
        return DistributionAlignment(AdaMatchThreshold(), momentum=0.5)


class TestSoftMatch(SelectorContract):
    per_sample = False

    def make(self) -> DistributionAlignment:
        return DistributionAlignment(SoftMatchWeight(momentum=0.5), "uniform", momentum=0.5, relabel=False)


class TestOfNegativeLabels(SelectorContract):
    per_sample = False

    def make(self) -> DistributionAlignment:
        return DistributionAlignment(U2PLThreshold(9, 0.5, (1, 4)), "uniform", relabel=False)


class TestOfASecondPrediction(SelectorContract):
    per_sample = False
    own_label = False

    def make(self) -> DistributionAlignment:
        return DistributionAlignment(DMTWeight(), "uniform")


def test_the_rule_judges_probabilities_scaled_by_wanted_over_predicted_share() -> None:
    rule = DistributionAlignment(FixedThreshold(0.6), momentum=0.8)
    predicted, wanted = None, torch.full((4,), 0.25, dtype=torch.float64)
    for step in range(4):
        labelled, logits = random_logits((6, 4), seed=50 + step), random_logits((9, 4), seed=step)
        target = labels_for(labelled, step)
        rule.update_from_labels(labelled, target)
        wanted = 0.8 * wanted + 0.2 * labelled.softmax(1)[target != 255].mean(0)
        p = logits.softmax(1)
        predicted = p.mean(0) if predicted is None else 0.8 * predicted + 0.2 * p.mean(0)
        aligned = p * (wanted + 1e-6) / (predicted + 1e-6)
        confidence, label = (aligned / aligned.sum(1, keepdim=True)).max(1)
        chosen = rule(logits)
        assert torch.equal(chosen.label, label)
        torch.testing.assert_close(chosen.confidence, confidence, rtol=1e-5, atol=0)
        assert torch.equal(chosen.trusted, confidence >= 0.6)


def test_labels_and_soft_targets_can_stay_those_of_the_prediction_itself() -> None:
    logits = random_logits((9, 4))
    rule = DistributionAlignment(SharpenedThreshold(0.5, 1.0), "uniform", relabel=False)
    chosen = rule(logits)
    assert torch.equal(chosen.label, logits.argmax(1))
    torch.testing.assert_close(chosen.target, logits.softmax(1))


def test_the_rule_inside_is_told_of_the_steps() -> None:
    rule = U2PLThreshold()
    DistributionAlignment(rule).on_train_start(7)
    assert rule.total == 7


def test_before_any_training_a_prediction_is_judged_as_it_is() -> None:
    logits = random_logits((9, 4))
    rule = DistributionAlignment(FixedThreshold(0.6)).eval()
    assert torch.equal(rule(logits).trusted, FixedThreshold(0.6)(logits).trusted)


def test_a_wrong_prior_is_named() -> None:
    with pytest.raises(InvalidInputError, match="prior: got 'flat', expected one of 'labelled', 'uniform'"):
        DistributionAlignment(FixedThreshold(), "flat")  # type: ignore[arg-type]
