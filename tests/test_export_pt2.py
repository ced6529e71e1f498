"""Programs of torch.export: the network's logits for images of any size, checked before anything is written."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from helpers.tiny_runs import tiny_config
from torch import Tensor, nn

from residual_ssl import train
from residual_ssl.cli import main
from residual_ssl.commands.export import export_pt2
from residual_ssl.engine.records.trained import load_run
from residual_ssl.errors import InvalidInputError, ResidualSSLError

RUN_ALONE = """
import sys, torch
sys.modules["residual_ssl"] = None
program = torch.export.load(sys.argv[1]).module()
torch.save([program(x) for x in torch.load(sys.argv[2])], sys.argv[3])
"""


def images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(7))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::residual_ssl.errors.ResidualSSLWarning")
def test_a_trained_run_becomes_a_program_that_runs_without_the_library(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tiny_config(tmp_path / "run", "+model.widths=[8,16]", "+model.blocks=1", "steps=1", "evaluate_every=1"))
    capsys.readouterr()
    path = tmp_path / "made" / "model.pt2"
    assert main(["predict", str(tmp_path / "run"), "--format", "pt2", "--out", str(path)]) == 0
    printed = capsys.readouterr().out
    assert f"{path}: images (batch, 3, height, width), float32 in [0, 1], to logits" in printed
    assert "torch.export agrees with torch: " in printed
    trained = load_run(tmp_path / "run", device="cpu")
    inputs = [images(1, 3, 64, 64), images(2, 3, 45, 70)]
    torch.save(inputs, tmp_path / "x.pt")
    command = [sys.executable, "-c", RUN_ALONE, str(path), str(tmp_path / "x.pt"), str(tmp_path / "y.pt")]
    subprocess.run(command, check=True, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    for x, found in zip(inputs, torch.load(tmp_path / "y.pt"), strict=True):
        torch.testing.assert_close(found, trained.task.predict(trained.model, x))
    kept = {"metadata.json": ""}
    torch.export.load(path, extra_files=kept)
    assert json.loads(kept["metadata.json"])["classes"] == list(trained.task.class_names)
    with zipfile.ZipFile(path) as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
    assert str(Path(__file__).parents[1]).encode() not in content  # no paths of this machine


def test_a_network_for_one_size_is_exported_for_that_size(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 5, 2)).eval()
    exported = export_pt2(network, images(3, 4, 5), tmp_path / "m.pt2")
    assert exported.shape == ("batch", 3, 4, 5)
    program = torch.export.load(tmp_path / "m.pt2").module()
    torch.testing.assert_close(program(images(7, 3, 4, 5)), network(images(7, 3, 4, 5)))


def test_a_file_that_disagrees_or_is_no_number_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x / (x - x)

    (tmp_path / "m.pt2").write_text("what was there before")
    with pytest.raises(ResidualSSLError, match=r"pt2: torch.export and torch disagree"):
        export_pt2(Broken(), images(3), tmp_path / "m.pt2")
    genuine = torch.export.export
    monkeypatch.setattr(torch.export, "export", lambda network, *a, **k: genuine(nn.Linear(3, 2), *a, **k))
    with pytest.raises(ResidualSSLError, match=r"pt2: torch.export and torch disagree"):
        export_pt2(nn.Linear(3, 2).eval(), images(3), tmp_path / "m.pt2")
    assert (tmp_path / "m.pt2").read_text() == "what was there before"


def test_what_cannot_be_exported_is_one_clear_line(tmp_path: Path) -> None:
    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(ResidualSSLError, match="pt2: Branching cannot be exported") as caught:
        export_pt2(Branching(), images(3), tmp_path / "m.pt2")
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(InvalidInputError, match=r"example: got torch.float64"):
        export_pt2(nn.Identity(), images(3).double(), tmp_path / "m.pt2")
