"""CAFSThreshold against a search over thresholds, label by label."""

import pytest
import torch

from residual_ssl.errors import InvalidInputError
from residual_ssl.selection import CAFSThreshold
from residual_ssl.testing import SelectorContract, labels_for, random_logits


class TestContract(SelectorContract):
    def make(self) -> CAFSThreshold:
        return CAFSThreshold(0.8, 0.3, 0.9)


def least(points: list[tuple[float, bool]], precision: float, low: int, high: int) -> float:
    for percent in range(low, high + 1):
        above = [right for c, right in points if int(c * 100) >= percent]
        if above and sum(above) / len(above) >= precision:
            return percent / 100
    return high / 100


def test_the_threshold_of_a_class_is_the_least_at_which_its_predictions_are_right_often_enough() -> None:
    rule = CAFSThreshold(0.8, 0.3, 0.9, momentum=0.0)
    logits = random_logits((400, 4), seed=1)
    target = labels_for(logits, 1)
    target[(logits.argmax(1) == 0) & (torch.arange(400) % 3 > 0)] = 1  # predictions of class 0 are mostly wrong
    rare = (logits.argmax(1) == 3) & (torch.arange(400) % 9 > 0)
    target[rare] = 255
    rule.update_from_labels(logits, target)
    confidence, label = logits.softmax(1).max(1)
    known = [
        (c, y, y == t) for c, y, t in zip(confidence.tolist(), label.tolist(), target.tolist(), strict=True) if t != 255
    ]
    pooled = least([(c, right) for c, _, right in known], 0.8, 30, 90)
    expected = []
    for k in range(4):
        own = [(c, right) for c, y, right in known if y == k]
        expected.append(least(own, 0.8, 30, 90) if sum(c >= 0.3 for c, _ in own) >= 20 else pooled)
    assert rule.thresholds().tolist() == pytest.approx(expected)
    assert expected[0] == 0.9  # never good enough
    assert expected[3] == pooled != expected[1]
    thresholds = rule.thresholds()
    judged = random_logits((50, 4), torch.float32, seed=2)
    c, y = judged.softmax(1).max(1)
    assert torch.equal(rule(judged).trusted, c >= thresholds[y])


def test_old_labelled_points_fade() -> None:
    rule = CAFSThreshold(momentum=0.5)
    logits = random_logits((30, 4))
    rule.update_from_labels(logits, logits.argmax(1))
    once = rule.seen.clone()
    rule.update_from_labels(logits, logits.argmax(1))
    torch.testing.assert_close(rule.seen, 1.5 * once)
    assert once.sum() == 30


def test_without_labels_the_highest_threshold_holds() -> None:
    logits = random_logits((50, 4))
    chosen = CAFSThreshold(high=0.8)(logits)
    assert torch.equal(chosen.trusted, logits.softmax(1).amax(1) >= 0.8)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"precision": 95}, "precision: got 95"), ({"low": 0.9, "high": 0.5}, "low: got 0.9, expected at most high")],
)
def test_wrong_choices_are_named(options: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        CAFSThreshold(**options)
