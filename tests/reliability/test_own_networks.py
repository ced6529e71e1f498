"""A network of the user's that does not fit is one line before training."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.folder_sets import folder_config, write_folders
from helpers.tiny_runs import tiny_config
from torch import Tensor, nn

from residual_ssl import evaluate, train
from residual_ssl.errors import ConfigError
from residual_ssl.models import LogitsAlone, as_logits_network, built_network


class Network(nn.Module):
    """Maps images to logits, and answers as ``answer`` says."""

    def __init__(self, num_classes: int, answer: str = "logits") -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, {"one logit": 1, "too many": num_classes + 2}.get(answer, num_classes), 3, padding=1)
        self.answer = answer

    def forward(self, x: Tensor) -> Any:
        logits = self.layer(x)
        answers = {
            "dict": {"out": logits, "aux": logits},
            "tuple": (logits, x),
            "coarse": logits[:, :, ::4, ::4],
            "coarse dict": {"logits": logits[:, :, ::4, ::4]},
            "other dict": {"scores": logits},
            "vector": logits.mean((2, 3)),
            "classes last": logits.movedim(1, -1),
            "class ids": logits.argmax(1),
            "no gradient": logits.detach(),
        }
        if self.answer == "error":
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied\nmore")
        if self.answer == "one size" and x.shape[2] != 64:
            raise RuntimeError("expected 64 rows")
        return answers.get(self.answer, logits)


def config(run_dir: Path, answer: str, algorithm: str) -> dict[str, Any]:
    made = tiny_config(run_dir, f"algorithm={algorithm}", "steps=1", "evaluate_every=1")
    made["task"]["model"] = {"_target_": "test_own_networks.Network", "_partial_": True, "answer": answer}
    return made


FAULTS = {
    "other dict": r"model: Network returns a dict with the keys scores, expected logits.* key logits or out",
    "classes last": r"model: Network returns logits \(1, 64, 64, 11\), .*; move the classes to dimension 1: logits.mov",
    "class ids": r"model: Network returns logits \(1, 64, 64\), expected \(1, 11, 64, 64\)$",
    "no gradient": r"model: Network returns logits without a gradient, .* frozen, or does it compute under torch.no_gr",
    "vector": r"model: Network returns logits \(1, 11\), expected \(1, 11, ",
    "one logit": r"model: Network returns logits \(1, 1, .*num_classes=11",
    "too many": r"model: Network returns logits \(1, 13, .*num_classes=11",
    "error": r"model: Network fails on an input of shape \(1, 3, .*cannot be multiplied$",
}


@pytest.mark.parametrize("answer", FAULTS)
def test_what_a_network_gives_is_looked_at_before_training(
    answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESIDUAL_SSL_ALLOW", "test_own_networks")
    with pytest.raises(ConfigError, match=FAULTS[answer]):
        train(config(tmp_path / "run", answer, "supervised"))
    assert not list((tmp_path / "run").glob("*.pt"))


@pytest.mark.parametrize("algorithm", ["supervised", "fixmatch", "mean_teacher", "cps"])
def test_images_to_logits_is_enough_without_a_feature_branch(
    algorithm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESIDUAL_SSL_ALLOW", "test_own_networks")
    assert train(config(tmp_path / "run", "logits", algorithm)).last["step"] == 1


@pytest.mark.parametrize("answer", ["dict", "tuple", "coarse", "coarse dict"])
def test_outputs_of_other_libraries_are_understood(
    answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESIDUAL_SSL_ALLOW", "test_own_networks")
    run_dir = tmp_path / "run"
    result = train(config(run_dir, answer, "fixmatch"))
    assert result.last["step"] == 1
    assert evaluate(run_dir)["miou"] == pytest.approx(result.last["miou"])


def test_logits_are_enlarged_as_in_the_libraries_they_come_from() -> None:
    network = as_logits_network(Network(4, "coarse dict"), torch.zeros(3, 16, 12), 4).eval()
    x = torch.rand(2, 3, 16, 12)
    small = network.network.layer(x)[:, :, ::4, ::4]
    expected = torch.nn.functional.interpolate(small, (16, 12), mode="bilinear", align_corners=False)
    torch.testing.assert_close(network(x), expected)
    plain = Network(4)
    assert as_logits_network(plain, torch.zeros(3, 16, 12), 4) is plain
    assert plain.training


@pytest.mark.parametrize("algorithm", ["csl", "unimatch", "unimatch_v2"])
def test_a_feature_branch_says_what_it_needs(algorithm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESIDUAL_SSL_ALLOW", "test_own_networks")
    with pytest.raises(ConfigError, match=r"model: Network maps inputs to logits alone.*algorithm=fixmatch"):
        train(config(tmp_path / "run", "logits", algorithm))


def test_a_network_for_one_size_is_found_out_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESIDUAL_SSL_ALLOW", "test_own_networks")
    write_folders(tmp_path, size=lambda index: (40, 40))
    made = folder_config(tmp_path, "algorithm=supervised", "dataset.geometry.crop=64")
    made["task"]["model"] = {"_target_": "test_own_networks.Network", "_partial_": True, "answer": "one size"}
    with pytest.raises(
        ConfigError, match=r"model: Network fails on an input of shape \(1, 3, 40, 40\): expected 64 rows"
    ):
        train(made)


def nothing(num_classes: int) -> None:
    pass


def test_what_makes_no_network_is_told() -> None:
    x = torch.zeros(3, 16, 12)
    with pytest.raises(ConfigError, match="model: nothing gives a NoneType, expected a torch"):
        built_network(nothing, 4, x)  # type: ignore[arg-type]
    with pytest.raises(
        ConfigError, match=r"model: Conv2d is called as Conv2d\(num_classes=4\), and missing a required"
    ):
        built_network(partial(nn.Conv2d, 3), 4, x)
    with pytest.raises(TypeError, match="inside"):
        built_network(fails_inside, 4, x)
    assert isinstance(built_network(partial(Network, answer="dict"), 4, x), LogitsAlone)


def fails_inside(num_classes: int) -> nn.Module:
    raise TypeError("inside")
