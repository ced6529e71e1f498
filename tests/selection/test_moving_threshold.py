"""CorrMatchThreshold against the average written out step by step."""

import pytest
import torch

from residual_ssl.errors import InvalidInputError
from residual_ssl.selection import CorrMatchThreshold
from residual_ssl.testing import SelectorContract, random_logits


class TestContract(SelectorContract):
    per_sample = False

    def make(self) -> CorrMatchThreshold:
        return CorrMatchThreshold(0.5, 0.9)


def test_the_threshold_follows_the_best_prediction_of_each_predicted_class() -> None:
    rule, threshold = CorrMatchThreshold(0.6, 0.8), 0.6
    for step in range(4):
        logits = random_logits((2, 6, 5), seed=step) * (0.3 + step / 2)
        chosen = rule(logits)
        confidence, label = logits.softmax(1).max(1)
        best = [
            max(c for c, y in zip(confidence.flatten(), label.flatten(), strict=True) if y == k)
            for k in set(label.flatten().tolist())
        ]
        threshold = 0.8 * threshold + 0.2 * sum(float(c) for c in best) / len(best)
        assert rule.threshold.item() == pytest.approx(threshold, rel=1e-6)
        assert torch.equal(chosen.trusted, confidence >= threshold)


def test_points_that_are_not_valid_do_not_move_it() -> None:
    rule = CorrMatchThreshold(0.6, 0.8)
    rule(random_logits((2, 6, 5)), torch.zeros(2, 5, dtype=torch.bool))
    assert rule.threshold == torch.tensor(0.6)


@pytest.mark.parametrize(
    ("options", "message"), [({"start": 85}, "start: got 85"), ({"momentum": 1}, "momentum: got 1")]
)
def test_wrong_choices_are_named(options: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        CorrMatchThreshold(**options)
