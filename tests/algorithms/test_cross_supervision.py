"""CrossSupervision: two networks, each taught by the other's pseudo-labels."""

from pathlib import Path

import pytest
import torch
from helpers.tiny_runs import tiny_config
from torch import Tensor, nn
from torch.nn import functional as F

from residual_ssl import FixedThreshold, Selection, Selector, train
from residual_ssl.algorithms import CrossSupervision, InputBranch, NetworkPair
from residual_ssl.config.components import build
from residual_ssl.engine.records.run_log import read_log
from residual_ssl.engine.records.trained import load_run
from residual_ssl.errors import ConfigError
from residual_ssl.losses import labelled_cross_entropy
from residual_ssl.perturbations import CutMix
from residual_ssl.selection import OracleSelector
from residual_ssl.selection.features import judged_points
from residual_ssl.task import Batch, Task
from residual_ssl.tasks.views import Views


@pytest.fixture
def task(tmp_path: Path) -> Task:
    made: Task = build(tiny_config(tmp_path)["task"], "task")
    made._views = Views(made.normalisation)  # type: ignore[attr-defined]
    return made


def batch_of(task: Task, kind: str, count: int = 4) -> Batch:
    data = getattr(task, kind)(0)
    samples = [data[i, i] for i in range(count)]
    return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}


def test_the_loss_is_the_published_sum(task: Task) -> None:
    algorithm = CrossSupervision(weight=1.5)
    model = algorithm.build_model(task).eval()
    labelled, unlabelled = batch_of(task, "labelled"), batch_of(task, "unlabelled")
    output = algorithm.step(model, task, labelled, unlabelled)
    images = torch.cat([labelled["input"], unlabelled["input"]])
    valid = torch.cat([labelled["target"] != task.ignore_index, unlabelled["valid"]])
    a, b = (network(task.view(images, "plain")) for network in (model.first, model.second))
    crossed = sum(
        F.cross_entropy(own, other.argmax(1), reduction="none")[valid].mean() for own, other in ((a, b), (b, a))
    )
    supervised = sum(labelled_cross_entropy(own[:4], labelled["target"]) for own in (a, b))
    torch.testing.assert_close(output.loss, supervised + 1.5 * crossed)
    assert output.selection is not None
    assert output.selection.label.shape == (4, 64, 64)
    assert torch.equal(output.selection.label, b[4:].argmax(1))


def test_pseudo_labels_pass_no_gradient_and_both_networks_learn(task: Task) -> None:
    algorithm = CrossSupervision()
    model = algorithm.build_model(task)
    output = algorithm.step(model, task, batch_of(task, "labelled"), batch_of(task, "unlabelled"))
    output.loss.backward()
    for network in (model.first, model.second):
        assert all(p.grad is not None and p.grad.any() for p in network.encoder.stem[0].parameters())
    assert not torch.equal(model.first.classifier.weight, model.second.classifier.weight)


def test_both_networks_see_the_same_mixed_view(task: Task) -> None:
    branch = InputBranch(1.0, view="plain", mix=CutMix(probability=1.0))
    algorithm = CrossSupervision(branch=branch, selector=FixedThreshold(0.0))
    model = algorithm.build_model(task).eval()
    model.second.load_state_dict(model.first.state_dict())
    torch.manual_seed(0)
    output = algorithm.step(model, task, batch_of(task, "labelled"), batch_of(task, "unlabelled"))
    # Equal networks on equal views: both crossed terms are one number, that of self-training.
    unlabelled = batch_of(task, "unlabelled")
    plain = task.view(unlabelled["input"], "plain")
    torch.manual_seed(0)
    box = CutMix(probability=1.0)(4, (64, 64), plain.device)
    mixed = torch.where(box.unsqueeze(1), plain[[1, 0, 3, 2]], plain)
    label = model.first(plain).argmax(1)
    label = torch.where(box, label[[1, 0, 3, 2]], label)
    valid = torch.where(box, unlabelled["valid"][[1, 0, 3, 2]], unlabelled["valid"])
    expected = F.cross_entropy(model.first(mixed), label, reduction="none")[valid].mean()
    torch.testing.assert_close(output.terms["crossed"], 2 * expected.detach())


class Agreement(Selector):
    evidence = ("second",)

    def forward(self, logits: Tensor, valid: Tensor | None = None, *, second: Tensor) -> Selection:  # type: ignore[override]
        points = judged_points(logits, valid)
        return self.select(points, points.label == second.argmax(1))


def test_a_rule_may_ask_where_the_two_agree(task: Task) -> None:
    algorithm = CrossSupervision(selector=Agreement())
    model = algorithm.build_model(task)
    with torch.no_grad():
        model.first.classifier.bias[7] = 50
        model.second.classifier.bias[3] = 50
    output = algorithm.step(model, task, batch_of(task, "labelled"), batch_of(task, "unlabelled"))
    assert output.selection is not None
    assert output.selection.coverage == 0
    assert output.terms["crossed"] == 0


TRANSFORMER = (
    *("model@algorithm.second=dpt_dinov2_s", "algorithm.second.weights=null"),
    "++algorithm.second.backbone_options={depth:4,embed_dim:48,num_heads:3,img_size:56}",
)


def test_a_convolutional_network_and_a_transformer_teach_each_other(tmp_path: Path) -> None:
    config = tiny_config(tmp_path / "run", "algorithm=cps", *TRANSFORMER, "steps=2", "evaluate_every=2")
    made: Task = build(config["task"], "task")
    algorithm: CrossSupervision = build(config["algorithm"], "algorithm")
    model = algorithm.build_model(made)
    assert [type(network).__name__ for network in (model.first, model.second)] == ["SmallSegmenter", "DPT"]
    output = algorithm.step(model, made, batch_of(made, "labelled"), batch_of(made, "unlabelled"))
    output.loss.backward()
    for network in (model.first, model.second):
        assert all(p.grad is not None for p in network.parameters() if p.requires_grad)
    with torch.no_grad():
        taught = model.eval().second(made.view(batch_of(made, "unlabelled")["input"], "plain"))
    assert taught.shape == (4, made.num_classes, 64, 64)
    train(config)
    assert type(load_run(tmp_path / "run").model).__name__ == "SmallSegmenter"


def test_layers_of_two_networks_are_counted_from_the_last() -> None:
    class Layers(nn.Module):
        def __init__(self, count: int) -> None:
            super().__init__()
            self.layers = nn.ParameterList(torch.zeros(1) for _ in range(count))

        def parameter_layers(self) -> list[list[nn.Parameter]]:
            return [[layer] for layer in self.layers]

    pair = NetworkPair(Layers(3), Layers(2))
    assert [len(layer) for layer in pair.parameter_layers()] == [1, 2, 2]
    assert pair.parameter_layers()[-1][1] is pair.second.layers[-1]


def test_the_truth_is_not_to_be_had() -> None:
    with pytest.raises(ConfigError, match="OracleSelector judges by truth"):
        CrossSupervision(selector=OracleSelector())


def test_it_trains_is_evaluated_by_its_first_network_and_loads_back(tmp_path: Path) -> None:
    train(tiny_config(tmp_path / "run", "algorithm=cps", "head_lr_multiplier=2"))
    rows = [row for row in read_log(tmp_path / "run") if "train/loss" in row]
    assert all(torch.tensor(row["train/loss"]).isfinite() for row in rows)
    last = load_run(tmp_path / "run", checkpoint_name="last.pt")
    stored = torch.load(tmp_path / "run" / "last.pt", weights_only=True)["model"]
    assert torch.equal(last.model.classifier.weight, stored["first.classifier.weight"])
    best = load_run(tmp_path / "run")
    assert set(best.model.state_dict()) == set(last.model.state_dict())
