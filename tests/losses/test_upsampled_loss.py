"""The loss of enlarged logits by blocks against the composition of enlargement and loss."""

import itertools
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from residual_ssl import ConvexSelector, FixedThreshold, Selection
from residual_ssl.errors import InvalidInputError
from residual_ssl.losses import selected_cross_entropy, upsampled, upsampled_selected_cross_entropy
from residual_ssl.selection import SharpenedThreshold, ShrinkMatchThreshold
from residual_ssl.testing import random_logits

SIZES = [((3, 4), (9, 13)), ((5, 7), (17, 25)), ((4, 4), (4, 4)), ((1, 3), (6, 5)), ((4, 1), (5, 1)), ((5, 6), (3, 2))]


def composed(coarse: Tensor, size: tuple[int, int], selection: Selection) -> Tensor:
    enlarged = F.interpolate(coarse, size, mode="bilinear", align_corners=True)
    return selected_cross_entropy(enlarged, selection)


def selection_of(size: tuple[int, int], images: int = 3, classes: int = 5) -> Selection:
    valid = torch.rand(images, *size, generator=torch.Generator().manual_seed(1)) > 0.2
    return ConvexSelector()(random_logits((images, classes, *size), seed=2), valid)


@pytest.fixture(params=[1, 60, 400, 10**6])
def _numbers_at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of one row, of some rows, of several images, and of all."""
    monkeypatch.setattr(upsampled, "_NUMBERS_PER_THREAD", request.param // torch.get_num_threads())


@pytest.mark.usefixtures("_numbers_at_once")
@pytest.mark.parametrize(("coarse_size", "size"), SIZES)
def test_value_and_gradient_are_those_of_the_composition(coarse_size: tuple[int, int], size: tuple[int, int]) -> None:
    coarse = random_logits((3, 5, *coarse_size)).requires_grad_()
    chosen = selection_of(size)
    expected, got = composed(coarse, size, chosen), upsampled_selected_cross_entropy(coarse, size, chosen)
    torch.testing.assert_close(got, expected)
    (wanted,), (found,) = (torch.autograd.grad(3 * loss, coarse) for loss in (expected, got))
    torch.testing.assert_close(found, wanted)


@pytest.mark.usefixtures("_numbers_at_once")
@pytest.mark.parametrize("rule", [SharpenedThreshold(0.5), ShrinkMatchThreshold(0.7)])
def test_soft_targets_and_negative_labels_teach_too(rule: FixedThreshold) -> None:
    chosen = rule(random_logits((2, 5, 10, 12)))
    assert chosen.target is not None or bool(chosen.negative.any())
    coarse = random_logits((2, 5, 4, 5), seed=3).requires_grad_()
    expected, got = (take(coarse, (10, 12), chosen) for take in (composed, upsampled_selected_cross_entropy))
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(*(torch.autograd.grad(loss, coarse)[0] for loss in (got, expected)))


def test_weights_that_carry_a_gradient_get_it() -> None:
    weight = torch.rand(3, 9, 13, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    chosen = replace(selection_of((9, 13)), weight=weight)
    coarse = random_logits((3, 5, 3, 4))
    losses = [take(coarse, (9, 13), chosen) for take in (composed, upsampled_selected_cross_entropy)]
    torch.testing.assert_close(*(torch.autograd.grad(loss, weight)[0] for loss in losses))


@pytest.mark.parametrize(("dtype", "autocast"), itertools.product([torch.float32, torch.bfloat16], [False, True]))
def test_half_precision_is_enlarged_in_single_precision(dtype: torch.dtype, autocast: bool) -> None:
    coarse, chosen = random_logits((3, 5, 3, 4), dtype).requires_grad_(), selection_of((9, 13))
    expected = composed(coarse.float(), (9, 13), chosen)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        got = upsampled_selected_cross_entropy(coarse, (9, 13), chosen)
    torch.testing.assert_close(got, expected)
    assert torch.autograd.grad(got, coarse)[0].dtype == dtype


def test_nothing_valid_gives_zero_and_a_gradient_of_zero() -> None:
    coarse = random_logits((1, 5, 2, 2)).requires_grad_()
    chosen = FixedThreshold()(random_logits((1, 5, 4, 4)), torch.zeros(1, 4, 4, dtype=torch.bool))
    loss = upsampled_selected_cross_entropy(coarse, (4, 4), chosen)
    loss.backward()
    assert loss == 0
    assert coarse.grad is not None
    assert not coarse.grad.any()


def test_it_compiles_in_one_graph() -> None:
    coarse, chosen = random_logits((3, 5, 3, 4), torch.float32).requires_grad_(), selection_of((9, 13))
    compiled = torch.compile(upsampled_selected_cross_entropy, backend="aot_eager", fullgraph=True)
    got, expected = compiled(coarse, (9, 13), chosen), upsampled_selected_cross_entropy(coarse, (9, 13), chosen)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(*(torch.autograd.grad(loss, coarse)[0] for loss in (got, expected)))


def test_what_does_not_fit_is_named() -> None:
    chosen = selection_of((9, 13))
    with pytest.raises(InvalidInputError, match=r"coarse_logits: got torch.float64 of shape \(3, 5, 4\)"):
        upsampled_selected_cross_entropy(random_logits((3, 5, 4)), (9, 13), chosen)
    with pytest.raises(
        InvalidInputError, match=r"selection: got points of shape \(3, 9, 13\), expected .* \(3, 9, 12\)"
    ):
        upsampled_selected_cross_entropy(random_logits((3, 5, 3, 4)), (9, 12), chosen)
