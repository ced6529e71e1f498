"""What a network predicts of a point beside its class is taught by labels, by a teacher and by another network."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from residual_ssl.algorithms import ConsistencyAlgorithm, CrossSupervision, InputBranch
from residual_ssl.selection import FixedThreshold, Selection, TrustAll
from residual_ssl.task import Batch, Task


class Heights(Task):
    """Steps of a recording with a class and a height each; the strong view is twice as loud."""

    class_names = ("low", "high")
    ignore_index = -100
    main_metric = "accuracy"
    num_values = 1

    def build_model(self) -> nn.Module:
        return nn.Conv1d(1, 3, 1)

    def view(self, inputs: Tensor, kind: str) -> Tensor:
        return 2 * inputs if kind == "strong" else inputs

    def value_loss(self, values: Tensor, taught: Tensor, label: Tensor, weight: Tensor) -> Tensor:
        return ((values - taught).square().squeeze(1) * weight * (label + 1)).sum() / weight.numel()

    labelled = unlabelled = validation = metric = summary = None  # type: ignore[assignment]


@pytest.fixture
def batches() -> tuple[Batch, Batch]:
    generator = torch.Generator().manual_seed(0)
    labelled = {
        "input": torch.randn(2, 1, 5, generator=generator),
        "target": torch.tensor([[0, 1, -100, 1, 0]] * 2),
        "values": torch.randn(2, 1, 5, generator=generator),
    }
    return labelled, {"input": torch.randn(3, 1, 5, generator=generator)}


def of_labels(output: Tensor, labelled: Batch) -> Tensor:
    target = labelled["target"]
    heights = (output[:, 2] - labelled["values"][:, 0]).square() * (target + 1)
    known: Any = target != -100
    return F.cross_entropy(output[:, :2], target, ignore_index=-100) + heights[known].sum() / target.numel()


def taught_by(output: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
    label = teacher[:, :2].argmax(1)
    classes = (F.cross_entropy(output[:, :2], label, reduction="none") * weight).mean()
    return classes + ((output[:, 2] - teacher[:, 2]).square() * weight * (label + 1)).mean()


def test_labels_and_selected_pseudo_labels_teach_values(batches: tuple[Batch, Batch]) -> None:
    torch.manual_seed(1)
    task, (labelled, unlabelled) = Heights(), batches  # type: ignore[abstract]
    algorithm = ConsistencyAlgorithm(FixedThreshold(0.55), {"strong": InputBranch(0.5)})
    model = task.build_model()
    found = algorithm.step(model, task, labelled, unlabelled)
    with torch.no_grad():
        teacher, strong = model(unlabelled["input"]), model(2 * unlabelled["input"])
        weight = (teacher[:, :2].softmax(1).amax(1) >= 0.55).float()
        assert 0 < weight.mean() < 1
        expected = [of_labels(model(labelled["input"]), labelled), taught_by(strong, teacher, weight)]
    torch.testing.assert_close(found.terms["labelled"], expected[0])
    torch.testing.assert_close(found.terms["strong"], expected[1])
    torch.testing.assert_close(found.loss.detach(), expected[0] + 0.5 * expected[1])
    found.loss.backward()
    assert model.weight.grad is not None
    assert model.weight.grad[2].abs() > 0


def test_two_networks_teach_each_other_values(batches: tuple[Batch, Batch]) -> None:
    torch.manual_seed(1)
    task, (labelled, unlabelled) = Heights(), batches  # type: ignore[abstract]
    algorithm = CrossSupervision(weight=2.0, selector=TrustAll(), branch=InputBranch(1.0))
    model: Any = algorithm.build_model(task)
    found = algorithm.step(model, task, labelled, unlabelled)
    with torch.no_grad():
        loud, ones = 2 * unlabelled["input"], torch.ones(3, 5)
        first = taught_by(model.first(loud), model.second(unlabelled["input"]), ones)
        second = taught_by(model.second(loud), model.first(unlabelled["input"]), ones)
        of_both = [of_labels(network(labelled["input"]), labelled) for network in (model.first, model.second)]
    torch.testing.assert_close(found.loss.detach(), sum(of_both) + 2 * (first + second))


def test_values_are_mixed_moved_and_pasted_with_the_points() -> None:
    ones = torch.ones(2, 3)
    values = torch.tensor([0.0, 1.0]).view(2, 1, 1).expand(2, 1, 3)
    own = Selection(ones.long(), ones, ones > 0, ones > 0, ones, ones, values=values)
    box = torch.tensor([[True, False, False], [False, False, True]])
    mixed = own.mixed(own.map(lambda points: points.flip(0)), box)
    assert mixed.values is not None
    assert mixed.values[:, 0].tolist() == [[1, 0, 0], [1, 1, 0]]
    pasted = own.with_labels(ones.long(), box, torch.full((2, 1, 3), 7.0))
    assert pasted.values is not None
    assert pasted.values[:, 0].tolist() == [[7, 0, 0], [1, 1, 7]]
