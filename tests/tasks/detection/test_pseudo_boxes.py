"""Suppression after selection: who wins, what the losers and the places of the winner teach."""

import pytest
import torch
from torch import Tensor

from residual_ssl.selection import Selection
from residual_ssl.tasks.detection import Locations
from residual_ssl.tasks.detection.boxes import box_loss, boxes_of, detected, focal_loss, pseudo_boxes

SIZE = (16, 16)
POINTS = Locations([4])  # 4 × 4 places, at 2, 6, 10, 14


def selection(
    label: dict[int, int], confidence: dict[int, float], boxes: dict[int, list[float]], weight: dict[int, float]
) -> Selection:
    """One sample: background of weight 1 but for what is said."""

    def row(given: dict[int, float], rest: float) -> Tensor:
        return torch.tensor([[given.get(i, rest) for i in range(16)]])

    values = torch.zeros(1, 5, 16)
    for place, box in boxes.items():
        values[0, :, place] = torch.tensor([*box, 4.0])
    own = row(weight, 1.0)
    valid = torch.ones(1, 16, dtype=torch.bool)
    return Selection(
        label=row(label, 0).long(), weight=own, trusted=own == 1, valid=valid, confidence=row(confidence, 0.9),
        residual=torch.zeros(1, 16), values=values,
    )  # fmt: skip


def test_the_better_of_two_boxes_teaches_all_places_that_would_be_its_own() -> None:
    # Places 5 (6, 6) and 6 (10, 6) say class 1 with nearly the same box; the second is surer. Its own: 5, 6, 9, 10.
    sure, other = [3.0, 3.0, 13.0, 13.0], [2.5, 3.0, 13.0, 13.0]
    before = selection({5: 1, 6: 1}, {5: 0.7, 6: 0.8}, {5: other, 6: sure}, {5: 1.0, 6: 0.9})
    after = pseudo_boxes(before, POINTS, SIZE)
    own = (POINTS.objects(torch.tensor([sure]), SIZE) == 0).nonzero().flatten().tolist()
    assert {5, 6, 9, 10} <= set(own)
    assert after.label[0].nonzero().flatten().tolist() == own
    torch.testing.assert_close(after.weight[0, own], torch.full((len(own),), 0.9))
    assert not after.trusted[0, own].any()
    assert after.values is not None
    assert all(after.values[0, :4, i].tolist() == sure for i in own)
    others = [i for i in range(16) if i not in own]
    assert (after.weight[0, others] == 1).all()


def test_boxes_of_two_classes_do_not_compete_and_what_is_not_selected_does_not_either() -> None:
    left, right = [0.0, 0.0, 4.0, 4.0], [12.0, 12.0, 16.0, 16.0]
    chosen = selection({0: 1, 15: 2, 5: 3}, {}, {0: left, 15: right, 5: [0.0, 0.0, 12.0, 12.0]}, {5: 0.0})
    after = pseudo_boxes(chosen, POINTS, SIZE)
    assert after.label[0, [0, 15]].tolist() == [1, 2]
    assert after.weight[0, 5] == 0  # taken for an object and not selected: it teaches neither that nor background
    assert after.weight.sum() == 15


def test_an_object_that_no_place_is_to_find_teaches_nothing() -> None:
    thin = [5.0, 5.0, 5.5, 5.5]  # between the places
    after = pseudo_boxes(selection({5: 1}, {}, {5: thin}, {}), POINTS, SIZE)
    assert after.weight[0, 5] == 0
    assert not after.trusted[0, 5]


def test_soft_targets_and_validity_stay_with_their_places() -> None:
    from dataclasses import replace

    box = [3.0, 3.0, 13.0, 13.0]
    before = selection({5: 1}, {}, {5: box}, {})
    target = torch.zeros(1, 2, 16)
    target[0, 0], target[0, :, 5] = 1, torch.tensor([0.1, 0.9])
    valid = torch.ones(1, 16, dtype=torch.bool)
    valid[0, 10] = False
    after = pseudo_boxes(replace(before, target=target, valid=valid), POINTS, SIZE)
    assert after.target is not None
    torch.testing.assert_close(after.target[0, :, 6], torch.tensor([0.1, 0.9]))
    assert torch.equal(after.valid, valid)
    assert after.weight[0, 10] == 0


def test_what_a_network_finds_is_thinned_out_class_by_class() -> None:
    logits = torch.full((3, 4), -9.0)
    logits[0] = 0
    logits[1, :2], logits[2, 2] = torch.tensor([3.0, 2.0]), 1.0
    values = torch.tensor([[0.0, 0, 8, 8, 9], [0, 0, 8, 7.9, 9], [0, 0, 8, 8, 9], [0, 0, 1, 1, 9]]).T
    found = detected(logits, values)
    assert found.classes.tolist() == [1, 2]
    probability = torch.tensor([3.0, 1.0]).exp() / (1 + torch.tensor([3.0, 1.0]).exp())
    torch.testing.assert_close(found.scores, (probability * torch.tensor(9.0).sigmoid()).sqrt(), atol=1e-3, rtol=0)


def test_a_trusted_box_is_shown_before_a_surer_one_that_is_not() -> None:
    boxes = {5: [3.0, 3.0, 13.0, 13.0], 6: [3.0, 3.0, 13.0, 12.5]}
    shown, trusted = boxes_of(selection({5: 1, 6: 1}, {5: 0.9, 6: 0.8}, boxes, {5: 0.0, 6: 1.0}))
    assert shown.boxes.tolist() == [boxes[6]]
    assert trusted.tolist() == [True]


def test_the_focal_loss_is_that_of_one_logit_for_each_class_and_does_not_see_a_shift() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(2, 4, 5), torch.tensor([[0, 1, 2, -100, 3], [0, 0, 0, 0, 2]])
    expected = 0.0
    for i in range(2):
        for j in range(5):
            for k in range(1, 4):
                if target[i, j] == -100:
                    continue
                p = torch.sigmoid(logits[i, k, j] - logits[i, 0, j]).item()
                on = target[i, j] == k
                right = p if on else 1 - p
                expected -= (0.25 if on else 0.75) * (1 - right) ** 2 * torch.tensor(right).log().item()
    assert focal_loss(logits, target, -100).item() == pytest.approx(expected / 4, rel=1e-5)
    assert focal_loss(logits + 3, target, -100).item() == pytest.approx(expected / 4, rel=1e-5)


def test_the_box_loss_counts_places_of_objects_by_their_weight() -> None:
    own = torch.tensor([[0.0, 0, 2, 2, 0], [0, 0, 2, 2, 0], [5, 5, 5, 5, 0]]).T.unsqueeze(0)
    taught = torch.tensor([[0.0, 0, 2, 2, 50], [0, 0, 2, 4, 50], [0, 0, 1, 1, 0]]).T.unsqueeze(0)
    label, weight = torch.tensor([[1, 2, 0]]), torch.tensor([[1.0, 0.5, 1.0]])
    middle = torch.tensor(2.0).log().item()  # -ln σ(0), of a centerness of 1
    expected = (1 * (0 + middle) + 0.5 * (0.5 + middle)) / 2  # GIoU 1, and 1/2 without a gap
    assert box_loss(own, taught, label, weight).item() == pytest.approx(expected, rel=1e-5)
