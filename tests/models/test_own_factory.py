"""model=own: a network of the user's package by its name, and nothing that the user did not allow."""

from pathlib import Path

import pytest
import torch
from helpers.tiny_runs import SCENES

from residual_ssl import compose
from residual_ssl.cli import main
from residual_ssl.config.allowed_targets import VARIABLE, locate
from residual_ssl.config.components import build
from residual_ssl.engine.records.trained import load_run
from residual_ssl.errors import ConfigError

PACKAGE = """
import pathlib
from torch import nn
pathlib.Path(__file__).with_name("imported").touch()
class Net(nn.Module):
    def __init__(self, num_classes, width=4, channels=3):
        super().__init__()
        stem = nn.Conv2d(channels, width, 3, padding=1)
        self.layers = nn.Sequential(stem, nn.ReLU(), nn.Conv2d(width, num_classes, 1))
    def forward(self, x):
        return {"logits": self.layers(x)}
def make(num_classes, width=4):
    return Net(num_classes, width)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "place"
    folder.mkdir()
    (folder / "netsofmine.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr("residual_ssl.config.allowed_targets._allowed", set())
    monkeypatch.setenv(VARIABLE, "")  # which the command line sets for --allow
    return folder


def test_a_factory_of_a_package_trains_where_the_user_allows_it(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = ["experiment=digits", "algorithm=fixmatch", "model=own", "model.target=netsofmine:make"]
    short = ["+model.arguments.width=6", "steps=1", "labelled_batch=4", "unlabelled_batch=4", *SCENES]
    command = ["train", *choice, *short, f"run_dir={tmp_path / 'run'}", "device=cpu"]
    assert main(command) == 2
    assert not (package / "imported").exists()
    assert main([*command, "--allow", "netsofmine"]) == 0
    network = load_run(tmp_path / "run", device="cpu").model
    assert sum(p.numel() for p in network.parameters()) == 6 * 28 + 11 * 7
    monkeypatch.setenv(VARIABLE, "")
    with pytest.raises(ConfigError, match=r"netsofmine.* which configurations may not call"):
        load_run(tmp_path / "run", device="cpu")


@pytest.mark.parametrize(
    "target", ["os:system", "builtins:eval", "torch:load", "netsofmine:make", "torch.nn.modules:os"]
)
def test_a_colon_is_no_way_around_the_list(package: Path, target: str) -> None:
    with pytest.raises(ConfigError):
        locate(target)
    with pytest.raises(ConfigError):
        build({"_target_": "residual_ssl.models.network_of", "num_classes": 2, "factory": {"_target_": target}})
    assert not (package / "imported").exists()


def test_both_spellings_name_the_same() -> None:
    assert locate("torch.nn:Conv2d") is locate("torch.nn.Conv2d") is torch.nn.Conv2d


def test_a_target_has_to_be_given() -> None:
    with pytest.raises(ConfigError, match=r"model.target: has no default"):
        compose(["experiment=digits", "model=own"])
