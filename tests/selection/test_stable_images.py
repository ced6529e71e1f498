"""STPlusPlusSelector against mean IoU by sets, and its ranking among the images seen."""

import pytest
import torch

from residual_ssl.errors import InvalidInputError
from residual_ssl.selection import STPlusPlusSelector
from residual_ssl.selection.weights.st_plus_plus import image_stability
from residual_ssl.testing import random_logits


def mean_iou(first: list[int], second: list[int]) -> float:
    values = []
    for k in set(first) | set(second):
        a = {i for i, label in enumerate(first) if label == k}
        b = {i for i, label in enumerate(second) if label == k}
        values.append(len(a & b) / len(a | b))
    return sum(values) / len(values)


def test_stability_is_the_mean_over_states_of_the_mean_iou_of_the_image() -> None:
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(0, 4, (3, 5, 6), generator=generator)
    earlier = torch.where(
        torch.rand(2, 3, 5, 6, generator=generator) < 0.6, label, torch.randint(0, 5, (2, 3, 5, 6), generator=generator)
    )
    valid = torch.rand(3, 5, 6, generator=generator) < 0.8
    expected = [
        sum(mean_iou(label[b][valid[b]].tolist(), earlier[j, b][valid[b]].tolist()) for j in range(2)) / 2
        for b in range(3)
    ]
    torch.testing.assert_close(image_stability(label, earlier, valid, 5), torch.tensor(expected))


def test_the_most_stable_share_of_all_images_seen_is_trusted() -> None:
    rule = STPlusPlusSelector(share=0.5, window=6)
    logits = random_logits((6, 4, 40))
    noise = torch.linspace(0, 30, 6, dtype=torch.float64).view(6, 1, 1)  # each image less stable than the one before
    earlier = (logits + noise * torch.randn(logits.shape, generator=torch.Generator().manual_seed(1)))[None]
    order = [2, 0, 4, 1, 5, 3]
    for start in (0, 2, 4):  # the first pass fills the window
        rule(logits[order[start : start + 2]], earlier=earlier[:, order[start : start + 2]])
    chosen = rule(logits[[1, 4]], earlier=earlier[:, [1, 4]])
    assert bool((chosen.weight[0] == 1).all())
    assert bool((chosen.weight[1] == 0).all())


def test_its_memory_continues_from_a_checkpoint() -> None:
    logits = random_logits((4, 4, 40))
    earlier = random_logits((2, 4, 4, 40), seed=1)
    rule, restored = STPlusPlusSelector(window=5), STPlusPlusSelector(window=5)
    rule(logits, earlier=earlier)
    restored.load_state_dict(rule.state_dict())
    for selector in (rule, restored):
        selector(logits.flip(0), earlier=earlier.flip(1))
    assert torch.equal(rule.recent, restored.recent)
    assert rule.count == restored.count == 8


def test_earlier_predictions_of_another_shape_are_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"earlier: got shape \(2, 4, 9\), expected \(J, 2, 4, 9\)"):
        STPlusPlusSelector()(torch.zeros(2, 4, 9), earlier=torch.zeros(2, 4, 9))


def test_a_whole_sample_is_stable_where_its_class_was_the_same_before() -> None:
    label, earlier = torch.tensor([0, 1, 2]), torch.tensor([[0, 2, 2], [0, 1, 1]])
    stability = image_stability(label, earlier, torch.tensor([True, True, True]), 3)
    assert stability.tolist() == [1.0, 0.5, 0.5]
