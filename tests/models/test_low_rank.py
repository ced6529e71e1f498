"""Low-rank adapters: what learns, what is stored, and that it comes back only on the weights that it was learned on."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

from residual_ssl import Callbacks, compose, evaluate, load, train
from residual_ssl.algorithms import EMATeacher
from residual_ssl.errors import CheckpointError, ConfigError, MissingDataError
from residual_ssl.models import DPT, TimmClassifier, low_rank_adapted

pytest.importorskip("peft")

OPTIONS = {"depth": 2, "embed_dim": 24, "num_heads": 2, "img_size": 8, "patch_size": 4}


@pytest.fixture
def weights(tmp_path: Path) -> str:
    torch.manual_seed(0)
    path = tmp_path / "vit.pth"
    torch.save(timm.create_model("vit_small_patch16_224", num_classes=0, **OPTIONS).state_dict(), path)
    return str(path)


def classifier(weights: str, **further: Any) -> nn.Module:
    made = partial(TimmClassifier, backbone="vit_small_patch16_224", weights=weights, backbone_options=OPTIONS)
    return low_rank_adapted(10, made, **further)


def config(run_dir: Path, weights: str, *overrides: str) -> dict[str, Any]:
    vit = ["model=timm_classifier", f"model.weights='{weights}'", "peft=lora", "peft.rank=2"]
    options = [f"+model.backbone_options.{key}={value}" for key, value in OPTIONS.items()]
    short = ["steps=2", "evaluate_every=1", "log_every=1", "labelled_batch=8", "unlabelled_batch=8", "warmup_steps=0"]
    fixed = ["experiment=digits_classification", "split=20", f"run_dir='{run_dir}'", "device=cpu"]
    return compose([*fixed, *vit, *options, *short, *overrides])


def test_at_first_nothing_is_changed_and_only_adapters_and_head_learn(weights: str) -> None:
    torch.manual_seed(1)
    plain = TimmClassifier(10, "vit_small_patch16_224", weights, backbone_options=OPTIONS).eval()
    network = classifier(weights).eval()
    images = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(network.encode(images)[0], plain.encode(images)[0])
    learning = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert {name for name in learning if "lora_" not in name} == {"head.weight", "head.bias"}
    # A and B of rank 8 for qkv (24 to 72) and the projection (24 to 24) of two blocks.
    adapters = sum(p.numel() for name, p in network.named_parameters() if "lora_" in name)
    assert adapters == 2 * 8 * ((24 + 72) + (24 + 24))
    before = {name: value.clone() for name, value in network.named_parameters()}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(2):  # B is 0 at first, so that A learns from the second step on
        optimizer.zero_grad()
        network(images).square().sum().backward()
        optimizer.step()
    moved = {name for name, value in network.named_parameters() if not torch.equal(value, before[name])}
    assert moved == learning


def test_a_state_holds_no_frozen_weight_and_comes_back_on_the_same_ones(weights: str, tmp_path: Path) -> None:
    network = classifier(weights).eval()
    for name, parameter in network.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    assert all("lora_" in name or name.startswith("head.") or name == "encoder.base_digest" for name in state)
    images = torch.rand(2, 3, 8, 8)
    again = classifier(weights).eval()
    assert not torch.allclose(again(images), network(images))
    again.load_state_dict(state)
    torch.testing.assert_close(again(images), network(images))
    torch.manual_seed(5)
    other = tmp_path / "other.pth"
    torch.save(timm.create_model("vit_small_patch16_224", num_classes=0, **OPTIONS).state_dict(), other)
    with pytest.raises(CheckpointError, match="trained on other weights"):
        classifier(str(other)).load_state_dict(state)


def test_averaged_teachers_follow_the_adapters(weights: str) -> None:
    network = classifier(weights)
    teacher = EMATeacher(network, 0.5)
    with torch.no_grad():
        network.head.bias.add_(1)
    before = teacher.model.head.bias.clone()
    teacher.update(network)
    assert not torch.equal(teacher.model.head.bias, before)
    assert teacher.model.state_dict().keys() == network.state_dict().keys()


@pytest.mark.filterwarnings("ignore::residual_ssl.errors.ResidualSSLWarning")
@pytest.mark.parametrize("algorithm", ["supervised", "mean_teacher"])
def test_a_run_is_small_continues_and_is_shared(weights: str, tmp_path: Path, algorithm: str) -> None:
    result = train(config(tmp_path / "run", weights, f"algorithm={algorithm}"))
    stored = torch.load(tmp_path / "run" / "best.pt", weights_only=True)["model"]
    assert not any("base_layer" in name for name in stored)
    assert evaluate(tmp_path / "run", device="cpu")["accuracy"] == pytest.approx(result.best["accuracy"])
    shared = load(tmp_path / "run", device="cpu").save_pretrained(tmp_path / "shared")
    assert (shared / "model.safetensors").stat().st_size < Path(weights).stat().st_size / 2
    Path(weights).rename(tmp_path / "moved.pth")
    with pytest.raises(MissingDataError, match=r"vit\.pth"):
        evaluate(tmp_path / "run", device="cpu")


def test_a_run_that_is_cut_off_continues_as_if_it_had_not_been(weights: str, tmp_path: Path) -> None:
    whole = train(config(tmp_path / "whole", weights, "algorithm=supervised", "steps=3"))

    def cut_off(step: int, row: object) -> None:
        if step == 3:
            raise RuntimeError("power cut")

    made = config(tmp_path / "cut", weights, "algorithm=supervised", "steps=3")
    with pytest.raises(RuntimeError, match="power cut"):
        train(made, callbacks=Callbacks(on_log=cut_off))
    assert train(made).last == whole.last


def test_dense_networks_and_faults(weights: str) -> None:
    options = {"depth": 4, "embed_dim": 48, "img_size": 28}
    network = low_rank_adapted(3, partial(DPT, backbone_options=options), rank=1)
    assert network(torch.rand(1, 3, 28, 28)).shape == (1, 3, 28, 28)
    with pytest.raises(ConfigError, match="no pretrained weights to adapt"):
        low_rank_adapted(3, partial(DPT, weights=None, backbone_options=options))
    with pytest.raises(ConfigError, match=r"peft.targets: no linear layer .* named nothing; there are qkv, proj, fc1"):
        classifier(weights, targets=["nothing"])
    with pytest.raises(ConfigError, match=r"peft.rank: got 0"):
        classifier(weights, rank=0)
    with pytest.raises(ConfigError, match="Linear has no encoder"):
        low_rank_adapted(3, lambda num_classes: nn.Linear(2, num_classes))
