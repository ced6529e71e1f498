"""The command: results on standard output, faults of the user's as clear lines and exit status 2."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.folder_sets import write_folders
from helpers.tiny_runs import SCENES
from PIL import Image

from residual_ssl import evaluate, predict
from residual_ssl.cli import main
from residual_ssl.engine.records.trained import load_run

KINDS = ("label", "overlay", "confidence", "trust")
TINY = ["experiment=digits", *SCENES, "steps=2", "evaluate_every=2", "device=cpu", "labelled_batch=2"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "run"
    assert main(["train", *TINY, "algorithm=csl", "unlabelled_batch=2", f"run_dir={folder}"]) == 0
    return folder


def test_training_prints_effective_values_and_the_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *TINY, "algorithm=supervised", f"run_dir={tmp_path / 'run'}"]) == 0
    printed = capsys.readouterr().out
    for expected in (
        "global batch  2 labelled",
        "learning rate  0.005",
        "0.91 M parameters, 11 classes",
        "last  step 2",
    ):
        assert expected in printed


def test_overrides_may_stand_on_both_sides_of_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "experiment=digits", "--print-config", "steps=17"]) == 0
    assert '"steps": 17' in capsys.readouterr().out


def test_evaluation_prints_every_class(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run), "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    rows = {line.rsplit(maxsplit=1)[0]: line.rsplit(maxsplit=1)[1] for line in printed.splitlines() if line}
    figures = evaluate(run, device="cpu")
    assert rows["mIoU"] == f"{figures['miou']:.2f}"
    assert rows["background"] == f"{figures['iou/background']:.2f}"
    assert rows["step"] == "2"


def test_prediction_writes_labels_overlays_and_maps_of_a_folder(run: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name, size in (("a.png", (64, 64)), ("b.JPG", (50, 70))):
        pixels = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / name)
    (tmp_path / "images" / "notes.txt").write_text("no image")
    assert main(["predict", str(run), str(tmp_path / "images"), "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0
    names = {path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")}
    assert names == {f"{stem}_{kind}.png" for stem in "ab" for kind in KINDS}
    with Image.open(tmp_path / "out" / "b_label.png") as label:
        assert (label.mode, label.size) == ("P", (70, 50))
        assert np.asarray(label).max() < 11


def test_labels_are_palette_images_of_class_ids_and_maps_show_confidence_and_trust(run: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (33, 47, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    predict(run, tmp_path / "a.png", tmp_path / "out", device="cpu")
    trained = load_run(run, device="cpu")
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    logits = trained.task.predict(trained.model, image)
    chosen = trained.algorithm.selector(logits)
    label = logits.argmax(1)[0].numpy()
    picture = {kind: Image.open(tmp_path / "out" / f"a_{kind}.png") for kind in KINDS}
    assert {image.size for image in picture.values()} == {(47, 33)}
    assert picture["label"].mode == "P"
    assert np.array_equal(np.array(picture["label"]), label)
    colours = np.array(trained.task.spec.palette)[label]
    assert np.array_equal(np.array(picture["label"].convert("RGB")), colours)
    mixed = np.where(label[..., None] == 0, pixels, 0.45 * pixels + 0.55 * colours)  # the background stays clear
    assert np.abs(np.array(picture["overlay"]) - mixed).max() < 1
    # Brighter where the value is larger: viridis rises in green.
    for kind, values in (("confidence", chosen.confidence[0]), ("trust", chosen.weight[0])):
        green = np.array(picture[kind])[..., 1].ravel()[values.numpy().ravel().argsort()].astype(int)
        assert (np.diff(green) >= 0).all()


def test_files_of_one_name_in_different_folders_do_not_overwrite_each_other(run: Path, tmp_path: Path) -> None:
    for folder, value in (("x", 0), ("y/z", 255)):
        (tmp_path / "in" / folder).mkdir(parents=True)
        Image.fromarray(np.full((16, 16, 3), value, np.uint8)).save(tmp_path / "in" / folder / "same.png")
    pattern = str(tmp_path / "in" / "**" / "*.png")
    # Inputs may stand behind options as well.
    assert main(["predict", str(run), "--out", str(tmp_path / "out"), "--device", "cpu", pattern]) == 0
    written = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")}
    assert written == {f"{folder}/same_{kind}.png" for folder in ("x", "y/z") for kind in KINDS}
    assert np.array(Image.open(tmp_path / "out" / "x" / "same_overlay.png")).mean() < 128
    assert np.array(Image.open(tmp_path / "out" / "y" / "z" / "same_overlay.png")).mean() > 128


def test_report_writes_a_page_and_prints_a_table(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run), "--out", str(tmp_path / "report.html")]) == 0
    assert "run" in capsys.readouterr().out
    assert (tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_doctor_finds_this_installation_sound(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "ok, two steps of CSL" in printed
    assert "FAILED" not in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "stepz=3"], "residual-ssl: stepz: no such key; did you mean 'steps'?"),
        (["train", "dataset=camvid", "dataset.root=/nowhere"], "residual-ssl: root: /nowhere is not a folder"),
        (["evaluate", "/nowhere"], "residual-ssl: checkpoint /nowhere: no such file"),
        (["predict", "/nowhere", "--format", "onnx", "--out", "x"], "residual-ssl: checkpoint /nowhere: no such file"),
        (
            ["predict", "RUN", "--out", "x"],
            "residual-ssl: inputs: got none, expected files, folders or quoted patterns",
        ),
        (["predict", "RUN", "a", "--format", "onnx", "--out", "x"], "residual-ssl: inputs: got a, expected none with"),
        (["report", "/nowhere", "--out", "x.html"], "residual-ssl: "),
    ],
)
def test_a_fault_gives_one_line_and_status_two(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 1
    assert message in errors[0]


def test_a_warning_is_one_line_like_a_fault(tmp_path: Path) -> None:
    write_folders(tmp_path)
    data = [f"dataset.root={tmp_path}", "dataset.classes=[ground,box,crack]", "dataset.labelled=4"]
    command = ["train", "dataset=folders", *data, "dataset.geometry.crop=32", "dry_run=true", "device=cpu"]
    program = Path(sys.executable).with_name("residual-ssl")
    done = subprocess.run([program, *command], capture_output=True, text=True, check=True)
    said = [line for line in done.stderr.splitlines() if "crack" in line]
    assert [line[:51] for line in said] == [
        "residual-ssl: warning: labelled set: no labelled po",
        "residual-ssl: warning: validation set: no labelled ",
    ]
    assert "warnings.warn(" not in done.stderr


def test_an_unknown_input_is_named(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(run), "/nowhere.png", "--out", str(tmp_path)]) == 2
    assert "inputs: /nowhere.png is neither a file nor a folder" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_one_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").write_text("a file")
    assert main(["predict", str(run), str(tmp_path / "taken"), "--out", str(tmp_path / "taken")]) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 1
    assert "taken" in errors[0]
