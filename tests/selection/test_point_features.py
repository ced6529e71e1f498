"""Point features against their definitions, computed point by point."""

import math

import pytest
import torch
from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.selection.points.point_features import FEATURES, SECOND_FEATURES, point_features
from residual_ssl.testing import random_logits


def column(values: Tensor, name: str) -> Tensor:
    return values[..., (*FEATURES, *SECOND_FEATURES).index(name)]


def log_odds(p: float) -> float:
    return math.log(p / (1 - p))


def test_own_features_follow_their_definitions() -> None:
    logits = random_logits((5, 4), seed=1)
    values, points = point_features(logits)
    for p, features, label in zip(logits.softmax(1).tolist(), values, points.label.tolist(), strict=True):
        first, runner_up, *_ = sorted(p, reverse=True)
        rest = [q for k, q in enumerate(p) if k != label]
        mean = sum(rest) / 3
        expected = {
            "confidence": first,
            "log_odds": log_odds(first),
            "dispersion": sum((q - mean) ** 2 for q in rest) / 3,
            "entropy": -sum(q * math.log(q) for q in p) / math.log(4),
            "margin": first - runner_up,
            "local_agreement": 1.0,
            "local_log_odds": log_odds(first),
        }
        assert dict(zip(FEATURES, features.tolist(), strict=True)) == pytest.approx(expected)


@pytest.mark.parametrize("window", [1, 3, 5])
def test_local_features_look_at_the_valid_points_of_the_window(window: int) -> None:
    logits = random_logits((2, 3, 6, 7), seed=2)
    valid = torch.rand(2, 6, 7, generator=torch.Generator().manual_seed(3)) > 0.3
    values, points = point_features(logits, valid, window=window)
    reach = window // 2
    own = column(values, "log_odds")
    for b, y, x in valid.nonzero().tolist():
        place = (b, slice(max(0, y - reach), y + reach + 1), slice(max(0, x - reach), x + reach + 1))
        seen = valid[place]
        share = (points.label[place][seen] == points.label[b, y, x]).double().mean()
        torch.testing.assert_close(column(values, "local_agreement")[b, y, x], share)
        torch.testing.assert_close(column(values, "local_log_odds")[b, y, x], own[place][seen].mean())
    assert not values[~valid].any()


def test_the_window_has_as_many_dimensions_as_the_points() -> None:
    line = torch.tensor([0, 0, 1, 1, 1])
    logits = torch.nn.functional.one_hot(line, 2).T.double().unsqueeze(0)
    agreement = column(point_features(logits, window=3).values, "local_agreement")
    torch.testing.assert_close(
        agreement[0], torch.tensor([2, 2, 2, 3, 2], dtype=torch.float64) / torch.tensor([2, 3, 3, 3, 2])
    )
    volume = logits.view(1, 2, 5, 1, 1).expand(1, 2, 5, 4, 3)
    agreement = column(point_features(volume, window=3).values, "local_agreement")
    torch.testing.assert_close(agreement[0, :, 1, 1], torch.tensor([1, 2 / 3, 2 / 3, 1, 1], dtype=torch.float64))


def test_the_second_prediction_is_asked_for_the_label_of_the_first() -> None:
    first, second = random_logits((6, 4), seed=4), random_logits((6, 4), seed=5)
    values = point_features(first, second=second).values
    label = first.argmax(1)
    p = second.softmax(1)[torch.arange(6), label]
    torch.testing.assert_close(column(values, "second_agreement"), (second.argmax(1) == label).double())
    torch.testing.assert_close(column(values, "second_log_odds"), torch.log(p / (1 - p)))


def test_points_without_a_finite_second_prediction_are_not_valid() -> None:
    second = random_logits((2, 3, 4))
    second[1, 0, 2] = torch.nan
    values, points = point_features(random_logits((2, 3, 4)), second=second)
    assert not points.valid[1, 2]
    assert not points.finite[1, 2]
    assert points.valid.sum() == 7
    assert not values[1, 2].any()
    assert bool(values.isfinite().all())


def test_log_odds_keep_confidences_apart_that_round_to_one() -> None:
    logits = torch.tensor([[20.0, 0.0], [25.0, 0.0], [40.0, 0.0], [1e30, -1e30]])
    values = point_features(logits).values
    assert bool((column(values, "confidence") == 1).all())
    torch.testing.assert_close(column(values, "log_odds"), torch.tensor([20.0, 25.0, 30.0, 30.0]))


def test_gradients_reach_the_logits() -> None:
    logits = random_logits((1, 4, 3, 3), seed=6).requires_grad_()
    second = random_logits((1, 4, 3, 3), seed=7).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda a, b: point_features(a, second=b, window=3).values, (logits, second), atol=1e-5
    )


@pytest.mark.parametrize("window", [0, 4, -1, 2.5])
def test_a_window_that_has_no_centre_is_named(window: int) -> None:
    with pytest.raises(InvalidInputError, match=rf"window: got {window}, expected an odd integer"):
        point_features(torch.zeros(1, 2), window=window)


def test_a_second_prediction_of_another_shape_is_named() -> None:
    with pytest.raises(InvalidInputError, match=r"second: got torch.float32 of shape \(2, 4\), expected .*\(2, 3\)"):
        point_features(torch.zeros(2, 3), second=torch.zeros(2, 4))
