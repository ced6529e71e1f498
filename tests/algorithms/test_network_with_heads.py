"""NetworkWithHeads: heads see what the classifier sees, of every kind of network, and copies see their own."""

import copy
from pathlib import Path

import pytest
import torch
from helpers.tiny_runs import tiny_digits
from torch import nn

from residual_ssl import evaluate, train
from residual_ssl.algorithms import EMATeacher, NetworkWithHeads
from residual_ssl.engine.setup.optimization import parameter_groups
from residual_ssl.errors import ConfigError
from residual_ssl.models import MLP, SmallSegmenter


def beside(network: nn.Module, classes: int) -> NetworkWithHeads:
    heads = {"same": lambda width, k, layer: layer(width, k), "none": lambda width, k, layer: None}
    wrapped = NetworkWithHeads(network, classes, heads)  # type: ignore[arg-type]
    return wrapped.eval()


@pytest.mark.parametrize(
    ("network", "classes", "shape"),
    [
        (MLP(6, 3, [5]), 3, (4, 6)),
        (MLP(6, 3, [], standardise=True), 3, (4, 6)),
        (SmallSegmenter(4, widths=(8, 8), blocks=1), 4, (2, 3, 17, 21)),
        (nn.Sequential(nn.Conv1d(2, 7, 3, padding=1), nn.ReLU(), nn.Conv1d(7, 3, 1)), 3, (2, 2, 9)),
        (nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.Conv3d(4, 2, 1)), 2, (1, 1, 4, 5, 6)),
    ],
)
def test_a_head_with_the_classifiers_weights_predicts_what_the_classifier_does(
    network: nn.Module, classes: int, shape: tuple[int, ...]
) -> None:
    wrapped = beside(network, classes)
    last = [m for m in network.modules() if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)][-1]
    wrapped.heads["same"].load_state_dict(last.state_dict())
    x = torch.randn(shape)
    parts = wrapped.split(wrapped(x))
    assert list(parts) == ["logits", "same"]
    torch.testing.assert_close(parts["logits"], network(x))
    torch.testing.assert_close(parts["same"], parts["logits"])


def test_perturbed_features_reach_the_heads() -> None:
    wrapped = beside(MLP(6, 3, [5]), 3)
    wrapped.heads["same"].load_state_dict(wrapped.network.head.state_dict())  # type: ignore[union-attr]
    outputs = wrapped(torch.randn(4, 6), torch.zeros_like, 1)
    assert outputs.shape == (7, 6)
    torch.testing.assert_close(outputs[:, :3], outputs[:, 3:])


def test_a_copy_looks_at_its_own_features() -> None:
    wrapped = beside(MLP(6, 3, [5]), 3)
    x = torch.randn(4, 6)
    before = wrapped(x)
    teacher = EMATeacher(wrapped)
    other = copy.deepcopy(wrapped)
    with torch.no_grad():
        for parameter in wrapped.parameters():
            parameter.zero_()
    assert wrapped(x).abs().sum() == 0
    for kept in (teacher, other):
        torch.testing.assert_close(kept(x), before)


def test_heads_learn_at_the_rate_of_the_classifier() -> None:
    wrapped = beside(MLP(6, 3, [5]), 3)
    encoder, head = parameter_groups(wrapped, 0.1, 10)
    assert {id(p) for p in encoder["params"]} == {id(p) for p in wrapped.network.encoder.parameters()}  # type: ignore
    assert {id(p) for p in wrapped.heads.parameters()} <= {id(p) for p in head["params"]}
    assert head["lr"] == pytest.approx(1.0)
    with pytest.raises(ConfigError, match="layer_decay"):
        parameter_groups(wrapped, 0.1, 1, 0.5)

    class Layered(MLP):
        def parameter_layers(self) -> list[list[nn.Parameter]]:
            return [list(self.encoder.parameters()), list(self.head.parameters())]

    layers = parameter_groups(beside(Layered(6, 3, [5]), 3), 1.0, 1, 0.5)
    assert [(len(layer["params"]), layer["lr"]) for layer in layers] == [(3, 0.5), (4, 1.0)]


def test_a_network_without_a_linear_end_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Flatten has no linear layer or convolution with 3 outputs"):
        NetworkWithHeads(nn.Flatten(), 3, {})


def test_the_classifier_alone_is_evaluated_and_starts_other_runs(tmp_path: Path) -> None:
    result = train(tiny_digits(tmp_path / "first", "algorithm=openmatch"))
    best = torch.load(tmp_path / "first" / "best.pt", weights_only=True)["model"]
    last = torch.load(tmp_path / "first" / "last.pt", weights_only=True)["model"]
    assert not any("heads" in name for name in best)
    assert any(name.startswith("heads.openmatch") for name in last)
    assert evaluate(tmp_path / "first", device="cpu") == pytest.approx(result.best)
    for name, algorithm in (("best.pt", "fixmatch"), ("best.pt", "iomatch"), ("last.pt", "openmatch")):
        still = ["steps=1", "optimizer.lr=0", f"init_from={tmp_path / 'first' / name}"]
        run = tmp_path / f"{algorithm}-{name}"
        train(tiny_digits(run, f"algorithm={algorithm}", *still))
        kept = torch.load(run / "best.pt", weights_only=True)["model"]
        for key in ("head.weight", "head.bias"):
            torch.testing.assert_close(kept[key], best[key])
