"""BCP: boxes in any number of dimensions, its loss by hand, and that it trains."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.tiny_runs import tiny_config
from torch import Tensor

from residual_ssl import Selection, train
from residual_ssl.algorithms import CopyPasteBranch
from residual_ssl.engine.records.run_log import read_log
from residual_ssl.errors import InvalidInputError
from residual_ssl.losses import dice_loss
from residual_ssl.perturbations import BidirectionalPaste
from residual_ssl.runtime.global_batch import batch_part


@pytest.mark.parametrize("size", [(30,), (9, 12), (6, 9, 12)], ids=str)
def test_boxes_have_two_thirds_of_each_side_and_are_turned_inside_out_for_every_other_sample(
    size: tuple[int, ...],
) -> None:
    target = torch.zeros(8, *size, dtype=torch.long)
    torch.manual_seed(0)
    partners, pasted = BidirectionalPaste()(target, 3, 255, 8)
    assert partners.tolist() == list(range(8))
    places = set()
    for i in range(8):
        box = pasted[i] if i % 2 == 0 else ~pasted[i]
        where = box.nonzero()
        low, high = where.min(0).values, where.max(0).values
        assert (high - low + 1).tolist() == [side * 2 // 3 for side in size]
        assert int(box.sum()) == np.prod([side * 2 // 3 for side in size])  # a full box and nothing else
        places.add(tuple(low.tolist()))
    assert len(places) > 1


def test_points_without_a_label_are_never_pasted_and_parts_of_a_batch_are_as_the_whole() -> None:
    target = torch.randint(0, 2, (4, 9, 9), generator=torch.Generator().manual_seed(0)) * 255
    paste = BidirectionalPaste()
    with batch_part(3):
        partners, pasted = paste(target, 3, 255, 8)
    assert not (pasted & (target[partners] == 255)).any()
    halves = []
    for part in range(2):
        with batch_part(3, part, 2):
            halves.append(paste(target[2 * part : 2 * part + 2], 3, 255, 4)[1])
    assert torch.equal(torch.cat(halves), pasted)
    with pytest.raises(InvalidInputError, match="BidirectionalPaste cuts boxes out of samples"):
        paste(torch.zeros(3, dtype=torch.long), 3, 255, 3)


def dice_by_loops(p: Tensor, label: Tensor, weight: Tensor) -> float:
    values = []
    for k in range(p.shape[1]):
        overlap = sizes = 0.0
        for b, i in np.ndindex(*label.shape):
            t = float(label[b, i] == k)
            overlap += float(weight[b, i] * p[b, k, i]) * t
            sizes += float(weight[b, i]) * (float(p[b, k, i]) ** 2 + t)
        values.append(2 * overlap / sizes)
    return 1 - sum(values) / len(values)


def test_dice_is_that_of_loops_over_points_and_classes() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 3, 7, generator=generator, dtype=torch.float64)
    label = torch.randint(0, 3, (2, 7), generator=generator)
    weight = torch.rand(2, 7, generator=generator)
    assert float(dice_loss(logits, label, weight)) == pytest.approx(dice_by_loops(logits.softmax(1), label, weight))
    left_out = weight.clone()
    left_out[:, 3:] = 0
    changed = torch.where(torch.arange(7) < 3, logits, 50 * logits)
    torch.testing.assert_close(dice_loss(changed, label, left_out), dice_loss(logits, label, left_out))


class Volumes:
    """What the branch asks of a task, of volumes: two classes, plain views."""

    num_classes, ignore_index = 2, 255

    def view(self, inputs: Tensor, kind: str) -> Tensor:
        return inputs


def selection(label: Tensor, weight: float) -> Selection:
    full = torch.full(label.shape, weight)
    none = torch.zeros_like(label, dtype=torch.bool)
    return Selection(label, full, none, ~none, full, torch.zeros_like(full))


def test_volumes_are_mixed_both_ways_and_each_origin_has_a_mean_of_its_own() -> None:
    size = (3, 3, 6)
    labelled: Any = {"input": torch.ones(4, 1, *size), "target": torch.ones(4, *size, dtype=torch.long)}
    inputs = torch.zeros(4, 1, *size)
    chosen = selection(torch.zeros(4, *size, dtype=torch.long), 0.25)
    branch = CopyPasteBranch(1.0, unlabelled_weight=0.5)
    x, mixed = branch.shown(Volumes(), inputs, chosen, labelled)  # type: ignore[arg-type]
    known = x[:, 0] == 1
    assert known.flatten(1).sum(1).tolist() == [16, 54 - 16, 16, 54 - 16]  # 2·2·4 of 3·3·6
    assert torch.equal(mixed.label, known.long())
    assert torch.equal(mixed.weight, torch.where(known, 1.0, 0.25))

    logits = torch.randn(4, 2, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    error = F.cross_entropy(logits, mixed.label, reduction="none")
    expected = 0.0
    for rows in ([0, 2], [1, 3]):  # inward and outward
        shown, one, p = known[rows], error[rows], logits[rows].softmax(1).flatten(2)
        label, weight = mixed.label[rows].flatten(1), mixed.weight[rows].flatten(1)
        of_known, of_other = shown.flatten(1), ~shown.flatten(1)
        expected += float(one[shown].mean()) + dice_by_loops(p, label, weight * of_known)
        expected += 0.5 * (0.25 * float(one[~shown].mean()) + dice_by_loops(p, label, weight * of_other))
    assert float(branch.term(logits, mixed, None)) == pytest.approx(expected / 2)


@pytest.mark.filterwarnings("ignore::residual_ssl.errors.ResidualSSLWarning")
def test_it_trains_from_a_network_of_labels_alone(tmp_path: Path) -> None:
    train(tiny_config(tmp_path / "run", "algorithm=bcp", "steps=2", "evaluate_every=2", "warmup_steps=0"))
    rows = [row for row in read_log(tmp_path / "run") if "train/loss_mixed" in row]
    assert len(rows) == 2
    first = torch.load(tmp_path / "run" / "1-labels" / "last.pt", weights_only=True)["model"]
    last = torch.load(tmp_path / "run" / "2-mixed" / "last.pt", weights_only=True)["model"]
    name = "classifier.weight"
    assert 0 < float((first[name] - last[name]).abs().max()) < float(first[name].abs().max())
