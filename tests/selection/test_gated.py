"""CWBASSThreshold: both versions of CW-BASS in plain Python."""

import math

import pytest
import torch

from residual_ssl.errors import InvalidInputError
from residual_ssl.selection import CWBASSThreshold
from residual_ssl.testing import SelectorContract, random_logits


class TestAdaptive(SelectorContract):
    per_sample = False

    def make(self) -> CWBASSThreshold:
        return CWBASSThreshold(strict=None, floor=0.0, base=1.0, high=0.8)


class TestGated(SelectorContract):
    per_sample = False

    def make(self) -> CWBASSThreshold:
        return CWBASSThreshold(strict=0.8, momentum=0.5)


def weights(logits: torch.Tensor, threshold: float, power: float) -> list[float]:
    return [c**power if c > threshold else 0.0 for c in logits.softmax(1).amax(1).tolist()]


def test_without_a_gate_the_threshold_depends_on_the_mean_confidence_of_the_batch() -> None:
    rule = CWBASSThreshold(strict=None, floor=0.0, base=0.9, slope=3.0, low=0.4, high=0.8, power=2.0)
    thresholds = []
    for step, scale in enumerate((0.1, 0.5, 1.0, 9.0)):
        logits = scale * random_logits((40, 4), seed=step)
        mean = logits.softmax(1).amax(1).mean().item()
        thresholds.append(min(max(0.9 / (1 + math.exp(-3 * (mean - 0.5))), 0.4), 0.8))
        assert rule(logits).weight.tolist() == pytest.approx(weights(logits, thresholds[-1], 2.0))
    assert thresholds[0] == 0.4
    assert thresholds == sorted(thresholds)
    assert 0.4 < thresholds[2] < thresholds[3]


def test_the_floor_follows_the_running_mean() -> None:
    rule, running = CWBASSThreshold(strict=None, floor=0.9, momentum=0.7), 0.6
    for step in range(5):
        logits = 2 * random_logits((40, 4), seed=step)
        mean = logits.softmax(1).amax(1).mean().item()
        running = 0.7 * running + 0.3 * mean
        threshold = min(max(0.6 / (1 + math.exp(-0.5 * (mean - 0.5))), 0.9 * running, 0.3), 0.95)
        assert threshold == 0.9 * running
        assert rule(logits).weight.tolist() == pytest.approx(weights(logits, threshold, 1.0), rel=1e-6)


@pytest.mark.parametrize(("right", "strict"), [(19, True), (18, False)])
def test_the_gate_is_strict_where_a_confident_prediction_keeps_its_promise(right: int, strict: bool) -> None:
    rule = CWBASSThreshold()
    sure, unsure = torch.tensor([[5.0, 0.0]]).repeat(20, 1), torch.tensor([[1.0, 0.0]]).repeat(30, 1)
    target = torch.tensor([0] * right + [1] * (20 - right) + [1] * 30)  # the unsure ones do not count
    rule.update_from_labels(torch.cat([sure, unsure]), target)
    logits = torch.tensor([[2.5, 0.0], [4.0, 0.0]])  # confidences .924 and .982
    assert (rule(logits).weight > 0).tolist() == [not strict, True]


def test_before_any_label_it_is_adaptive() -> None:
    assert (CWBASSThreshold()(torch.tensor([[2.5, 0.0]])).weight > 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strict": 95}, "strict: got 95"),
        ({"low": 0.9, "high": 0.5}, "low: got 0.9, expected at most high"),
        ({"power": -1}, "power: got -1"),
    ],
)
def test_wrong_choices_are_named(options: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        CWBASSThreshold(**options)
