"""Weighted losses against their sums."""

import math
from dataclasses import replace

import pytest
import torch

from residual_ssl import ConvexSelector, FixedThreshold
from residual_ssl.errors import InvalidInputError
from residual_ssl.losses import (
    OHEMCrossEntropy,
    labelled_cross_entropy,
    ohem_cross_entropy,
    selected_cross_entropy,
    selected_squared_error,
)
from residual_ssl.selection import TrustAll
from residual_ssl.testing import random_logits


def test_the_divisor_is_the_number_of_valid_points() -> None:
    logits = random_logits((2, 5, 6, 6))
    valid = torch.rand(2, 6, 6, generator=torch.Generator().manual_seed(0)) > 0.3
    chosen = ConvexSelector()(random_logits((2, 5, 6, 6), seed=1), valid)
    expected, count = 0.0, 0
    for b in range(2):
        for i in range(6):
            for j in range(6):
                if valid[b, i, j]:
                    p = logits[b, :, i, j].softmax(0)[chosen.label[b, i, j]]
                    expected += -math.log(p) * chosen.weight[b, i, j].item()
                    count += 1
    torch.testing.assert_close(selected_cross_entropy(logits, chosen).item(), expected / count)


def test_nothing_valid_gives_zero_and_a_gradient_of_zero() -> None:
    logits = random_logits((1, 5, 4)).requires_grad_()
    chosen = FixedThreshold()(logits.detach(), torch.zeros(1, 4, dtype=torch.bool))
    loss = selected_cross_entropy(logits, chosen)
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()


def test_infinite_losses_at_unselected_points_do_not_spread() -> None:
    teacher = torch.tensor([[[9.0, 0.1], [0.0, 0.0]]])
    student = torch.tensor([[[1.0, float("nan")], [0.0, 0.0]]])
    assert selected_cross_entropy(student, FixedThreshold(0.9)(teacher)).isfinite()


def test_half_precision_is_summed_in_single() -> None:
    logits = random_logits((4, 5, 80, 80), torch.bfloat16)
    loss = selected_cross_entropy(logits, FixedThreshold(0.0)(logits))
    assert loss.dtype == torch.float32
    assert labelled_cross_entropy(logits, logits.argmax(1)).dtype == torch.float32


def test_labelled_loss_skips_ignored_points() -> None:
    logits = random_logits((2, 5, 6))
    target = torch.randint(0, 5, (2, 6), generator=torch.Generator().manual_seed(0))
    target[0, :4] = 255
    expected = torch.nn.functional.cross_entropy(logits, target, ignore_index=255)
    torch.testing.assert_close(labelled_cross_entropy(logits, target), expected)
    assert labelled_cross_entropy(logits, torch.full_like(target, 255)) == 0


def test_soft_targets_are_taught_in_place_of_labels() -> None:
    logits, target = random_logits((2, 5, 4)), random_logits((2, 5, 4), seed=1).softmax(1)
    chosen = replace(TrustAll()(logits), target=target)
    expected = -sum(
        target[b, k, i] * logits[b, :, i].log_softmax(0)[k] for b in range(2) for k in range(5) for i in range(4)
    )
    torch.testing.assert_close(selected_cross_entropy(logits, chosen), expected / 8)


def test_negative_labels_push_down_the_sum_of_their_probabilities() -> None:
    logits = random_logits((2, 5, 4)).requires_grad_()
    negative = torch.zeros(2, 5, 4, dtype=torch.bool)
    negative[0, 1:3, 2] = True  # one point is neither 1 nor 2
    nothing = FixedThreshold(1.0)(torch.zeros(2, 5, 4, dtype=torch.float64))
    loss = selected_cross_entropy(logits, replace(nothing, negative=negative))
    p = logits[0, :, 2].softmax(0)
    torch.testing.assert_close(loss, -(1 - p[1] - p[2]).log() / 8)
    loss.backward()
    assert logits.grad.abs().amax(1).nonzero().tolist() == [[0, 2]]


def test_squared_error_against_its_sum() -> None:
    logits, teacher = random_logits((2, 5, 4)), random_logits((2, 5, 4), seed=1)
    chosen = FixedThreshold(0.6)(teacher)
    expected = sum(
        ((logits[b, :, i].softmax(0) - torch.eye(5, dtype=torch.float64)[chosen.label[b, i]]) ** 2).mean()
        for b in range(2)
        for i in range(4)
        if chosen.trusted[b, i]
    )
    torch.testing.assert_close(selected_squared_error(logits, chosen), expected / 8)
    soft = replace(chosen, target=logits.softmax(1))
    assert selected_squared_error(logits, soft) == 0


@pytest.mark.parametrize("min_kept", [0, 1, 20, 45, 1000])
@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.7, 1.0])
def test_hard_points_are_those_up_to_the_threshold_or_the_least_number(threshold: float, min_kept: int) -> None:
    logits = 2 * random_logits((2, 5, 5, 6))
    target = torch.randint(0, 5, (2, 5, 6), generator=torch.Generator().manual_seed(0))
    target[:, 2] = 255  # 48 of 60 points are labelled
    points = [
        (math.exp(-loss), loss)
        for b in range(2)
        for i in range(5)
        for j in range(6)
        if target[b, i, j] != 255
        for loss in [-math.log(logits[b, :, i, j].double().softmax(0)[target[b, i, j]].item())]
    ]
    assert len(points) == 48
    points.sort()
    limit = max([threshold, *[p for p, _ in points[min_kept - 1 : min_kept] if min_kept]])
    kept = [loss for p, loss in points if p <= limit * (1 + 1e-6)] if min_kept <= 48 else [loss for _, loss in points]
    result = ohem_cross_entropy(logits, target, 255, threshold, min_kept)
    torch.testing.assert_close(result.item(), sum(kept) / max(1, len(kept)), rtol=1e-5, atol=1e-6)


def test_easy_points_get_no_gradient_and_nothing_labelled_gives_zero() -> None:
    logits = torch.tensor([[[9.0, 1.0], [0.0, 0.0]]]).requires_grad_()  # K = 2: one easy and one harder point
    ohem_cross_entropy(logits, torch.zeros(1, 2, dtype=torch.long), threshold=0.8, min_kept=1).backward()
    assert not logits.grad[..., 0].any()
    assert bool(logits.grad[..., 1].all())
    ignored = torch.full((1, 2), 255)
    assert ohem_cross_entropy(logits, ignored) == 0


def test_the_component_keeps_so_many_points_of_each_sample() -> None:
    logits, target = random_logits((3, 5, 40)), torch.zeros(3, 40, dtype=torch.long)
    component = OHEMCrossEntropy(threshold=0.0, min_kept_per_sample=7)
    assert component(logits, target) == ohem_cross_entropy(logits, target, threshold=0.0, min_kept=21)
    assert component(logits, target) != ohem_cross_entropy(logits, target, threshold=0.0, min_kept=7)


@pytest.mark.parametrize(("options", "message"), [({"threshold": 1.5}, "threshold"), ({"min_kept": -1}, "min_kept")])
def test_wrong_choices_are_named(options: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        ohem_cross_entropy(random_logits((1, 5, 4)), torch.zeros(1, 4, dtype=torch.long), **options)  # type: ignore[arg-type]
