"""Predict keeps what is not its own, goes on after a bad file, and stays within its memory."""

import csv
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny_runs import tiny_config, tiny_digits
from PIL import Image

from residual_ssl import ConvexSelector, FixedThreshold, predict, train
from residual_ssl.cli import main
from residual_ssl.commands.prediction.tiled import tiled_selection
from residual_ssl.config.components import build
from residual_ssl.errors import ConfigError, IncompleteError


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dense") / "run"
    train(tiny_config(folder, "algorithm=supervised", "steps=1", "evaluate_every=1"))
    return folder


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(tiny_digits(folder, "algorithm=supervised", "steps=1", "evaluate_every=1"))
    return folder


def photo(path: Path, value: int = 20, size: tuple[int, int] = (32, 32)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)
    return path


BAD: dict[str, bytes] = {"junk": b"junk", "empty": b"", "cut off": b"\x89PNG\r\n\x1a\n" + bytes(30)}


@pytest.mark.parametrize("fault", BAD)
def test_the_others_are_predicted_and_the_bad_file_is_named(fault: str, run: Path, tmp_path: Path) -> None:
    for index in range(4):
        photo(tmp_path / f"photos/{index}.png")
    (tmp_path / "photos/1.png").write_bytes(BAD[fault])
    with pytest.raises(IncompleteError, match=r"1 of 4 inputs[^\n]*\n[^\n]*1\.png: the image cannot be read"):
        predict(run, tmp_path / "photos", tmp_path / "out", device="cpu")
    assert sorted(path.name for path in (tmp_path / "out").glob("*_label.png")) == [
        f"{index}_label.png" for index in (0, 2, 3)
    ]


def test_a_classifier_goes_on_too_and_the_command_ends_with_status_1(
    classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for index in range(3):
        photo(tmp_path / f"photos/{index}.png")
    (tmp_path / "photos/0.png").write_bytes(b"junk")
    out = tmp_path / "out"
    status = main(["predict", str(classifier), str(tmp_path / "photos"), "--out", str(out), "--device", "cpu"])
    assert status == 1
    assert "0.png" in capsys.readouterr().err
    assert len((out / "predictions.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize("origin", ["an input", "a file of the user's", "a link out of the folder"])
def test_nothing_of_another_origin_is_replaced(origin: str, run: Path, tmp_path: Path) -> None:
    photo(tmp_path / "photos/1.png")
    out = tmp_path / "photos" if origin == "an input" else tmp_path / "out"
    there = out / "1_label.png"
    if origin == "a link out of the folder":
        out.mkdir()
        outside = photo(tmp_path / "outside.png", 99)
        there.symlink_to(outside)
    else:
        photo(there, 99)
    before = there.read_bytes()
    with pytest.raises(ConfigError, match=r"out: .*1_label\.png"):
        predict(run, tmp_path / "photos/1.png", out, device="cpu")
    assert there.read_bytes() == before


def test_its_own_results_are_replaced_by_the_next_call(run: Path, tmp_path: Path) -> None:
    photo(tmp_path / "photos/1.png")
    first = predict(run, tmp_path / "photos", tmp_path / "out", device="cpu")
    assert predict(run, tmp_path / "photos", tmp_path / "out", device="cpu") == first


NAMES = ["=cmd.png", "+1.png", "-x.png", "@a.png", "a,b.png", 'a"b.png', "日本.png", "a b.png", "a$b^.png", "\tx.png"]


def test_any_file_name_has_its_row_and_no_cell_is_a_formula(classifier: Path, tmp_path: Path) -> None:
    for name in NAMES:
        photo(tmp_path / "photos" / name)
    (written,) = predict(classifier, tmp_path / "photos", tmp_path / "out", device="cpu")
    with written.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert sorted(Path(row["file"]).name for row in rows) == sorted(NAMES)
    assert not any(row["file"].startswith(("=", "+", "-", "@")) for row in rows)


@pytest.mark.parametrize("selector", [ConvexSelector(), FixedThreshold(0.2)], ids=repr)
def test_tiles_give_what_the_whole_image_gives_where_the_network_sees_no_further(
    selector: torch.nn.Module, tmp_path: Path
) -> None:
    task = build(tiny_config(tmp_path / "run")["task"], "task")
    network = torch.nn.Conv2d(3, 11, 1)
    sample = torch.rand(3, 150, 90, generator=torch.Generator().manual_seed(0))
    selector.eval()
    label, tiled = tiled_selection(task, network, selector, sample, 64)
    logits = task.predict(network, sample.unsqueeze(0))
    whole = selector(logits)
    assert torch.equal(label, logits[0].argmax(0))
    for name in ("label", "weight", "trusted", "valid", "confidence", "residual"):
        torch.testing.assert_close(getattr(tiled, name), getattr(whole, name))


@pytest.mark.parametrize("device", ["foo", "cuda:99", "", "cpu:x"])
def test_a_device_that_is_not_there_is_one_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], device: str
) -> None:
    file = photo(tmp_path / "1.png")
    assert main(["predict", str(run), str(file), "--out", str(tmp_path / "out"), "--device", device]) == 2
    assert f"device: got {device!r}" in capsys.readouterr().err


@pytest.mark.parametrize("tile", ["twelve", "8", "-1"])
def test_a_tile_that_is_none_is_named(tile: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = photo(tmp_path / "1.png")
    status = main(["predict", str(run), str(file), "--out", str(tmp_path / "out"), "--device", "cpu", f"--tile={tile}"])
    assert status in (1, 2)
    assert "tile: got" in capsys.readouterr().err


@pytest.mark.slow
def test_a_photograph_of_24_megapixels_takes_less_than_four_gigabytes(run: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (4000, 6000, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "p.jpg")
    command = [sys.executable, "-m", "residual_ssl.cli", "predict", str(run), str(tmp_path / "p.jpg"), "--out", "out"]
    subprocess.run([*command, "--device", "cpu"], cwd=tmp_path, check=True, capture_output=True)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 < 4e9
