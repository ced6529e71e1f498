"""Stored labels teach what was stored, whatever the network says."""

import pytest
import torch

from residual_ssl.errors import InvalidInputError
from residual_ssl.selection import Selector, StoredLabels
from residual_ssl.testing import SelectorContract, random_logits


class TestContract(SelectorContract):
    own_label = False

    def make(self) -> Selector:
        return StoredLabels()


@pytest.mark.parametrize("shape", [(6, 5), (2, 5, 4, 3)])
def test_label_and_weight_are_those_stored(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    points = (shape[0], *shape[2:])
    label = torch.randint(0, 5, points, generator=generator)
    weight = torch.randint(0, 256, points, generator=generator) / 255
    valid = torch.rand(points, generator=generator) > 0.3
    stored = torch.stack([label.float(), weight], 1)
    chosen = StoredLabels()(random_logits(shape, torch.float32), valid, stored=stored)
    assert torch.equal(chosen.label, label)
    assert torch.equal(chosen.weight, weight * valid)
    assert torch.equal(chosen.trusted, (weight == 1) & valid)


def test_ids_of_no_class_weigh_nothing() -> None:
    stored = torch.tensor([[7.0, 1.0], [-1.0, 1.0], [1.0, 1.0]])
    chosen = StoredLabels()(torch.zeros(3, 2), stored=stored)
    assert chosen.weight.tolist() == [0, 0, 1]
    assert chosen.label.max() < 2


def test_stored_labels_of_another_shape_are_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"stored: got shape \(3, 5\), expected \(3, 2\)"):
        StoredLabels()(torch.zeros(3, 5), stored=torch.zeros(3, 5))
