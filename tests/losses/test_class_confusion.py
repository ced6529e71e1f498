"""Minimum class confusion against its definition, written out point by point."""

import math

import pytest
import torch
from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.losses.class_confusion import MinimumClassConfusion, minimum_class_confusion


def definition(points: Tensor, temperature: float) -> float:
    """Points ``(N, K)``; the weights normalised to mean 1 as in the paper, which cancels."""
    predictions = [[math.exp(v / temperature) for v in row] for row in points.tolist()]
    predictions = [[v / sum(row) for v in row] for row in predictions]
    raw = [1 + math.exp(sum(v * math.log(v) for v in row)) for row in predictions]
    weights = [len(raw) * w / sum(raw) for w in raw]
    classes = points.shape[1]
    loss = 0.0
    for j in range(classes):
        row = [sum(w * p[j] * p[k] for w, p in zip(weights, predictions, strict=True)) for k in range(classes)]
        loss += sum(value / sum(row) for k, value in enumerate(row) if k != j)
    return loss / classes


def logits_of(*shape: int) -> Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_the_loss_is_the_published_one(temperature: float) -> None:
    logits = logits_of(9, 4)
    expected = definition(logits, temperature)
    assert minimum_class_confusion(logits, temperature=temperature).item() == pytest.approx(expected, rel=1e-12)


def test_points_with_a_place_count_as_samples_and_invalid_ones_do_not() -> None:
    logits = logits_of(2, 4, 3, 5)
    valid = torch.rand(2, 3, 5, generator=torch.Generator().manual_seed(1)) < 0.5
    spoilt = logits.clone()
    spoilt[1, :, 0, 0] = torch.inf
    counted = valid.clone()
    counted[1, 0, 0] = False
    expected = definition(logits.movedim(1, -1)[counted], 2.5)
    assert minimum_class_confusion(spoilt, valid).item() == pytest.approx(expected, rel=1e-12)
    assert minimum_class_confusion(logits, torch.zeros_like(valid)) == 0


def test_the_gradient_is_that_of_the_confusion_at_fixed_weights() -> None:
    logits = logits_of(6, 4).requires_grad_()
    minimum_class_confusion(logits, temperature=1.0).backward()
    p = logits.detach().clone().requires_grad_()
    probabilities = p.softmax(1)
    weights = 1 + (probabilities.detach() * probabilities.detach().log()).sum(1).exp()
    confusion = torch.einsum("i,ij,ik->jk", weights, probabilities, probabilities)
    (1 - (confusion.diagonal() / confusion.sum(1)).mean()).backward()
    torch.testing.assert_close(logits.grad, p.grad)


def test_a_point_that_is_not_finite_gets_no_gradient_and_spoils_none() -> None:
    logits = logits_of(4, 3)
    logits[2, 1] = torch.nan
    logits.requires_grad_()
    minimum_class_confusion(logits).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert not logits.grad[2].any()
    assert logits.grad[0].any()


def test_a_step_against_the_gradient_confuses_less() -> None:
    logits = logits_of(16, 4).requires_grad_()
    before = minimum_class_confusion(logits)
    (gradient,) = torch.autograd.grad(before, logits)
    assert minimum_class_confusion(logits - 5 * gradient) < before


def test_half_precision_is_computed_in_single() -> None:
    logits = logits_of(6, 3).bfloat16()
    assert minimum_class_confusion(logits).dtype == torch.float32
    assert minimum_class_confusion(logits).item() == pytest.approx(definition(logits.double(), 2.5), rel=1e-5)


def test_a_temperature_that_is_not_positive_is_named() -> None:
    with pytest.raises(InvalidInputError, match=r"temperature: got 0, expected a positive number"):
        MinimumClassConfusion(0)
