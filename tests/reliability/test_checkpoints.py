"""Files of a run that are damaged, missing, malformed or cannot be written: what is read, rebuilt, refused and said."""

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_runs import tiny_digits

from residual_ssl import evaluate, train
from residual_ssl.engine.records.run_log import RunLog, read_log
from residual_ssl.errors import CheckpointError, ResidualSSLError, ResidualSSLWarning
from residual_ssl.runtime import checkpoint
from residual_ssl.runtime.files import atomic_file, write_json, write_text


def config(run: Path, *overrides: str) -> dict[str, Any]:
    return tiny_digits(run, "algorithm=supervised", "steps=4", "evaluate_every=2", *overrides)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("finished") / "run"
    train(config(run))
    return run


@pytest.fixture
def run(tmp_path: Path, finished: Path) -> Path:
    """A copy of a finished run."""
    copy = tmp_path / "run"
    copy.mkdir()
    for path in finished.iterdir():
        if path.is_file():
            (copy / path.name).write_bytes(path.read_bytes())
    return copy


def flip(path: Path, entry: str = "/data/") -> None:
    """Flip one bit in the largest tensor of a checkpoint."""
    with zipfile.ZipFile(path) as archive:
        info = max((i for i in archive.infolist() if entry in i.filename), key=lambda i: i.file_size)
        content = archive.read(info)
    data = bytearray(path.read_bytes())
    data[data.index(content) + len(content) // 2] ^= 1
    path.write_bytes(bytes(data))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


DAMAGES: dict[str, Callable[[Path], None]] = {"a flipped bit": flip, "half a file": truncate, "an empty file": empty}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_is_noticed(run: Path, damage: Callable[[Path], None]) -> None:
    damage(run / "best.pt")
    with pytest.raises(CheckpointError, match=r"best.pt: cannot be read .* damaged"):
        evaluate(run, device="cpu")


@pytest.mark.parametrize("damage", [*DAMAGES.values(), Path.unlink], ids=[*DAMAGES, "no file"])
def test_a_run_goes_on_from_the_previous_checkpoint_to_the_same_end(
    run: Path, finished: Path, damage: Callable[[Path], None]
) -> None:
    damage(run / "last.pt")
    (run / "result.json").unlink()
    with pytest.warns(ResidualSSLWarning, match=r"last.pt: .*continues from last-previous.pt, step 2"):
        train(config(run))
    for name, value in checkpoint.load(finished / "last.pt")["model"].items():
        assert torch.equal(checkpoint.load(run / "last.pt")["model"][name], value)


def without(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda stored: stored.pop(name)


def replaced(name: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda stored: stored.update({name: value})


MALFORMED: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no step": (without("step"), "step is missing"),
    "no class names": (without("class_names"), "class_names is missing"),
    "no model": (without("model"), "expected the entries model and config"),
    "a configuration of 5": (replaced("config", 5), "config is 5"),
    "a model of 5": (replaced("model", 5), "model is 5"),
    "weights that are no tensors": (replaced("model", {"w": 1}), "model.w is 1, no tensor"),
    "a configuration without a task": (lambda stored: stored["config"].pop("task"), "its configuration lacks task"),
    "a step of text": (replaced("step", "ten"), "step is 'ten'"),
    "a negative step": (replaced("step", -1), "step is -1"),
    "class names of numbers": (replaced("class_names", [1, 2]), "class_names are no texts"),
    "a later format": (replaced("format", 99), "is of format 99"),
    "an earlier format": (replaced("format", 1), "is of format 1, from before selectors and modules had their present"),
}


@pytest.mark.parametrize(("change", "message"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_checkpoint_is_one_line(run: Path, change: Callable[[dict[str, Any]], Any], message: str) -> None:
    stored = torch.load(run / "best.pt", weights_only=True)
    change(stored)
    torch.save(stored, run / "best.pt")
    with pytest.raises(CheckpointError, match=message) as caught:
        evaluate(run, device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"last": 5, "best": 5}', "null"])
def test_a_torn_result_is_made_anew(run: Path, finished: Path, text: str) -> None:
    (run / "result.json").write_text(text)
    with pytest.warns(ResidualSSLWarning, match=r"result.json: cannot be read"):
        train(config(run))
    anew, before = (json.loads((path / "result.json").read_text()) for path in (run, finished))
    assert (anew["last"], anew["best"]) == (before["last"], before["best"])


def test_a_missing_best_checkpoint_is_made_anew_and_said(run: Path) -> None:
    (run / "best.pt").unlink()
    with pytest.warns(ResidualSSLWarning, match=r"best.pt: is missing"):
        train(config(run))
    assert checkpoint.load(run / "best.pt")["step"] == 4


@pytest.mark.parametrize("line", ["{", "5", '{"a": 1}', '{"step": 2, "train/loss": "x"}', "\x00\x00"])
def test_a_damaged_line_of_the_log_is_left_out_and_said(run: Path, line: str) -> None:
    rows = read_log(run)
    lines = (run / "log.jsonl").read_text().splitlines()
    (run / "log.jsonl").write_text("\n".join([lines[0], line, *lines[1:]]) + "\n")
    with pytest.warns(ResidualSSLWarning, match=r"1 of \d+ lines are damaged and left out: line 2"):
        assert read_log(run) == rows


def test_the_log_survives_a_kill_while_it_is_rewritten(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = read_log(run)

    def cut(number: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", cut)
    with pytest.raises(KeyboardInterrupt):
        RunLog(run, 2)
    assert read_log(run) == before


FAULTS = {28: "free space", 13: "give yourself the right", 30: "give yourself the right", 122: "free space"}


@pytest.mark.parametrize(("number", "remedy"), FAULTS.items(), ids=["full", "forbidden", "read-only", "quota"])
def test_a_file_that_cannot_be_written_is_named_and_the_old_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, remedy: str
) -> None:
    path = tmp_path / "result.json"
    write_text(path, "good")

    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ResidualSSLError, match=rf"(?i)result.json: cannot be written .* is intact. {remedy}") as caught:
        write_text(path, "new")
    assert "remove" not in str(caught.value)
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("result.json", "good")]


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic_file(path) as first, atomic_file(path) as second:
        first.write(b"first")
        second.write(b"second")
    assert path.read_bytes() == b"first"


def test_numbers_that_json_does_not_have_become_null(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": [float("nan"), 1.0], "b": float("inf")})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": [None, 1.0], "b": None}


def test_a_checkpoint_is_written_by_steps_apart_from_evaluations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    original = checkpoint.save

    def watched(path: Path, content: Any, **named: Any) -> None:
        written.append((path.name, content["step"]))
        original(path, content, **named)

    monkeypatch.setattr(checkpoint, "save", watched)
    train(config(tmp_path / "run", "steps=5", "evaluate_every=5", "checkpoint_every=2"))
    # The last step is stored before it is evaluated.
    assert written == [("last.pt", 2), ("last.pt", 4), ("last.pt", 5), ("best.pt", 5), ("last.pt", 5)]
    assert checkpoint.load(tmp_path / "run" / "last-previous.pt")["step"] == 4
