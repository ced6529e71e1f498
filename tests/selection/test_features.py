"""Residual features against their definition."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from residual_ssl import prediction_features
from residual_ssl.errors import InvalidInputError


def by_definition(logits: Tensor, *, released: bool = False) -> tuple[Tensor, Tensor]:
    """Confidence and residual dispersion point by point from the softmax, ``(N, K)`` to two ``(N,)``."""
    confidences, dispersions = [], []
    for p in logits.softmax(1):
        top = int(p.argmax())
        others = torch.cat([p[:top], p[top + 1 :]])
        mean = (1 - p[top]) / len(others)
        squares = ((others - mean) ** 2).sum()
        if released:
            squares = squares + mean**2  # the arg-max slot, left in the sum as a zero
        confidences.append(p[top])
        dispersions.append(squares / len(others))
    return torch.stack(confidences), torch.stack(dispersions)


@pytest.mark.parametrize("classes", [2, 3, 4, 21, 150])
@pytest.mark.parametrize("released", [False, True])
def test_features_are_those_of_the_definition(classes: int, released: bool) -> None:
    logits = 3 * torch.randn(200, classes, dtype=torch.float64, generator=torch.Generator().manual_seed(classes))
    confidence, dispersion = by_definition(logits, released=released)
    got = prediction_features(logits, residual="released" if released else "paper")
    torch.testing.assert_close(got.confidence, confidence, rtol=1e-12, atol=0)
    torch.testing.assert_close(got.residual, dispersion, rtol=1e-9, atol=1e-17)
    assert torch.equal(got.label, logits.argmax(1))


def test_scaled_dispersion_is_bounded_and_vanishes_with_certainty() -> None:
    logits = 4 * torch.randn(500, 21, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    plain, scaled = prediction_features(logits), prediction_features(logits, scaled=True)
    factor = 20**2 / (2 * (1 - plain.confidence + 1e-8))
    torch.testing.assert_close(scaled.residual, plain.residual * factor, rtol=1e-7, atol=0)
    assert bool((scaled.residual <= (1 - plain.confidence) * 19 / 2 + 1e-12).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_dispersion_stays_accurate_where_confidence_is_close_to_one(dtype: torch.dtype) -> None:
    logits = torch.tensor([[14.0, 1.0, 0.5, -2.0], [11.0, 3.0, 0.0, 0.0]]).to(dtype)
    exact = prediction_features(logits.double())
    assert exact.confidence.min() > 0.9990
    torch.testing.assert_close(prediction_features(logits).residual.double(), exact.residual, rtol=1e-4, atol=0)


def test_two_classes_leave_no_residual() -> None:
    assert not prediction_features(torch.randn(50, 2, generator=torch.Generator().manual_seed(0))).residual.any()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-30, 30), min_size=3, max_size=8), st.floats(-100, 100))
def test_features_ignore_a_shift_and_the_order_of_the_other_classes(values: list[float], shift: float) -> None:
    logits = torch.tensor([values], dtype=torch.float64)
    plain = prediction_features(logits)
    moved = prediction_features(logits.flip(1) + shift)
    torch.testing.assert_close(moved.confidence, plain.confidence)
    torch.testing.assert_close(moved.residual, plain.residual, rtol=1e-6, atol=1e-12)


def test_features_are_differentiable() -> None:
    logits = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: prediction_features(x, scaled=True)[:2], (logits,))


def test_points_that_are_not_valid_are_zero_and_pass_no_gradient() -> None:
    logits = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    logits[0, 1, 2] = torch.nan
    logits.requires_grad_()
    valid = torch.ones(2, 4, dtype=torch.bool)
    valid[1, 0] = False
    features = prediction_features(logits, valid)
    assert features.confidence[0, 2] == features.residual[0, 2] == features.confidence[1, 0] == 0
    (features.confidence.sum() + features.residual.sum()).backward()
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())
    assert not logits.grad[1, :, 0].any()


def test_an_unknown_residual_is_named() -> None:
    with pytest.raises(InvalidInputError, match=r"residual: got 'papers', expected 'paper' or 'released'"):
        prediction_features(torch.zeros(2, 3), residual="papers")  # type: ignore[arg-type]
