"""Mixing and mapping a Selection carries every tensor along, those by class included."""

from dataclasses import replace

import torch
from selector_contract import random_logits

from residual_ssl import FixedThreshold, Selection


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
