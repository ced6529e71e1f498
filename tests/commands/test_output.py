"""What a command prints: text for people, JSON for programs, and how much on the way."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.tiny_runs import SCENES

from residual_ssl import evaluate
from residual_ssl.cli import main

TINY = ["experiment=digits", *SCENES, "algorithm=supervised", "steps=2", "evaluate_every=2", "device=cpu"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("output") / "run"
    assert main(["train", *TINY, "labelled_batch=2", f"run_dir={folder}", "--quiet"]) == 0
    return folder


def test_json_is_alone_on_standard_output(run: Path, tmp_path: Path) -> None:
    command = ["train", *TINY, "labelled_batch=2", f"run_dir={tmp_path / 'run'}", "--json"]
    done = subprocess.run([sys.executable, "-m", "residual_ssl", *command], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    assert result["last"]["step"] == 2
    assert result["run_dir"] == str(tmp_path / "run")
    assert "global batch" in done.stderr


def test_quiet_leaves_the_result_alone(run: Path, tmp_path: Path) -> None:
    command = ["train", *TINY, "labelled_batch=2", f"run_dir={tmp_path / 'run'}", "--quiet"]
    done = subprocess.run([sys.executable, "-m", "residual_ssl", *command], capture_output=True, text=True, check=True)
    assert "last  step 2" in done.stdout
    assert "global batch" not in done.stdout + done.stderr
    assert "it/s" not in done.stderr


def test_quiet_keeps_faults(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "stepz=3", "--quiet"]) == 2
    assert "stepz: no such key" in capsys.readouterr().err


def test_metrics_of_an_evaluation_as_json_are_those_of_the_function(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["evaluate", str(run), "--device", "cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == pytest.approx(evaluate(run, device="cpu"))


def test_choices_as_json_have_their_groups(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "optimizers", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["optimizers"]) == {"adamw", "sgd"}


@pytest.mark.parametrize("module", ["residual_ssl", "residual_ssl.cli"])
def test_the_command_is_a_module_too(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: residual-ssl")
