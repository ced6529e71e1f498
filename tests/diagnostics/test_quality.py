"""Figures of a selection against their definitions."""

import itertools

import pytest
import torch
from torch import Tensor

from residual_ssl import FixedThreshold, Selection
from residual_ssl.diagnostics import selection_quality
from residual_ssl.testing import random_logits


def weighted_selection() -> tuple[Selection, Tensor]:
    selection = FixedThreshold(0.5)(random_logits((2, 4, 6)))
    weight = torch.rand(2, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    valid = torch.tensor([[True] * 4 + [False] * 2, [True] * 6])
    truth = torch.randint(0, 4, (2, 6), generator=torch.Generator().manual_seed(2))
    truth[0, 0] = 255
    truth[1, :3] = selection.label[1, :3]
    chosen = Selection(
        selection.label, weight * valid, selection.trusted & valid, valid, selection.confidence, selection.residual
    )
    return chosen, truth


def test_selection_quality_follows_its_definition_point_by_point() -> None:
    chosen, truth = weighted_selection()
    weight = right = known = hits = total = trusted = 0.0
    for b, i in itertools.product(range(2), range(6)):
        if not chosen.valid[b, i]:
            continue
        w = chosen.weight[b, i].item()
        total += w
        trusted += bool(chosen.trusted[b, i])
        if truth[b, i] == 255:
            continue
        hit = bool(chosen.label[b, i] == truth[b, i])
        weight, right, known, hits = weight + w, right + w * hit, known + 1, hits + hit
    figures = {name: value.item() for name, value in selection_quality(chosen, truth).items()}
    expected = {"coverage": total / 10, "trusted": trusted / 10, "purity": right / weight, "accuracy": hits / known}
    assert figures == pytest.approx(expected)


def test_selection_quality_without_labels_has_no_purity() -> None:
    chosen, truth = weighted_selection()
    assert set(selection_quality(chosen)) == {"coverage", "trusted"}
    unknown = selection_quality(chosen, torch.full_like(truth, 7), ignore_index=7)
    assert unknown["purity"].isnan()
    assert unknown["accuracy"].isnan()
