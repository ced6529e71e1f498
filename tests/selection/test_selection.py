"""Mixing and mapping a Selection carries every tensor along, those by class included."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from residual_ssl import FixedThreshold, Selection
from residual_ssl.testing import random_logits


def selection(seed: int) -> Selection:
    logits = random_logits((3, 4, 5, 6), seed=seed)
    return replace(FixedThreshold(0.5)(logits), target=logits.softmax(1), negative=logits < 0)


def test_mixing_takes_each_point_from_one_of_the_two() -> None:
    first, second = selection(0), selection(1)
    box = torch.rand(3, 5, 6, generator=torch.Generator().manual_seed(2)) < 0.5
    mixed = first.mixed(second, box)
    for name in ("label", "weight", "trusted", "valid", "confidence", "residual"):
        for b, i, j in ((0, 0, 0), (1, 2, 3), (2, 4, 5), (0, 3, 1)):
            source = second if box[b, i, j] else first
            assert getattr(mixed, name)[b, i, j] == getattr(source, name)[b, i, j]
    for name in ("target", "negative"):
        for b, i, j in ((0, 0, 0), (1, 2, 3), (2, 4, 5), (0, 3, 1)):
            source = second if box[b, i, j] else first
            assert torch.equal(getattr(mixed, name)[b, :, i, j], getattr(source, name)[b, :, i, j])


def whole(seed: int, **changes: object) -> Selection:
    return replace(FixedThreshold(0.5)(2 * random_logits((6, 4), seed=seed)), **changes)


def test_whole_samples_teach_as_much_as_both_by_their_share_of_the_places_and_their_weight() -> None:
    generator = torch.Generator().manual_seed(2)
    box = torch.rand(6, 5, 8, generator=generator) < torch.tensor([0.0, 0.2, 0.5, 0.7, 1.0, 0.4]).view(6, 1, 1)
    weights = torch.tensor([[1.0, 0.3, 0.0, 0.0, 0.7, 0.0], [0.2, 1.0, 0.5, 1.0, 0.4, 0.0]])
    first, second = whole(0, weight=weights[0]), whole(1, weight=weights[1])
    mixed = first.mixed(second, box, 4)
    logits = random_logits((6, 4), seed=5)
    for i in range(6):
        share = box[i].sum().item() / 40
        own, other = (F.cross_entropy(logits[i : i + 1], one.label[i : i + 1]).item() for one in (first, second))
        expected = (1 - share) * weights[0, i].item() * own + share * weights[1, i].item() * other
        found = mixed.weight[i] * F.cross_entropy(logits[i : i + 1], mixed.target[i : i + 1])
        assert found.item() == pytest.approx(expected, abs=1e-6)
        assert mixed.target[i].sum().item() == pytest.approx(1)
        assert mixed.label[i] == (first if share <= 0.5 else second).label[i]


def test_equal_weights_give_the_target_of_cutmix() -> None:
    first, second = whole(0, weight=torch.ones(6)), whole(1, weight=torch.ones(6))
    box = torch.zeros(6, 4, 4, dtype=torch.bool)
    box[:, 0] = True  # a quarter
    mixed = first.mixed(second, box, 4)
    expected = 0.75 * F.one_hot(first.label, 4) + 0.25 * F.one_hot(second.label, 4)
    torch.testing.assert_close(mixed.target, expected)
    torch.testing.assert_close(mixed.weight, torch.ones(6))


def test_soft_targets_and_what_samples_are_not_are_mixed_too() -> None:
    soft = [random_logits((6, 4), seed=seed).softmax(1) for seed in (3, 4)]
    never = [torch.arange(4).expand(6, 4) == k for k in (1, 1)]
    never[1] = never[1] | (torch.arange(4) == 2)
    first, second = (whole(i, weight=torch.ones(6), target=soft[i], negative=never[i]) for i in (0, 1))
    half = torch.zeros(6, 2, 2, dtype=torch.bool)
    half[:, 0] = True
    mixed = first.mixed(second, half, 4)
    torch.testing.assert_close(mixed.target, (soft[0] + soft[1]) / 2)
    assert torch.equal(mixed.negative, never[0])


def test_map_reaches_every_tensor_and_leaves_absent_ones_absent() -> None:
    turned = selection(0).map(lambda points: points.roll(1, 0))
    assert torch.equal(turned.target, selection(0).target[[2, 0, 1]])
    assert torch.equal(turned.negative, selection(0).negative[[2, 0, 1]])
    plain = FixedThreshold(0.5)(random_logits((3, 4))).map(lambda points: points.flip(0))
    assert plain.target is None
    assert plain.negative is None


def test_true_labels_replace_whatever_was_judged_there() -> None:
    judged = replace(selection(0), valid=torch.zeros(3, 5, 6, dtype=torch.bool))
    where = torch.rand(3, 5, 6, generator=torch.Generator().manual_seed(2)) < 0.5
    truth = torch.full((3, 5, 6), 255).masked_fill(where, 2)
    known = judged.with_labels(truth, where)
    expected = {"label": 2, "weight": 1, "trusted": True, "valid": True, "confidence": 1, "residual": 0}
    for name, value in expected.items():
        assert bool((getattr(known, name)[where] == value).all()), name
        assert torch.equal(getattr(known, name)[~where], getattr(judged, name)[~where]), name
    for name, at_truth in (("target", [0.0, 0.0, 1.0, 0.0]), ("negative", [False] * 4)):
        by_class = getattr(known, name).movedim(1, -1)
        assert bool((by_class[where] == torch.tensor(at_truth)).all())
        assert torch.equal(by_class[~where], getattr(judged, name).movedim(1, -1)[~where])
