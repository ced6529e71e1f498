"""Settings of a finished run that are others now: data that moved, a batch that fits."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from residual_ssl import compose, evaluate, predict, train
from residual_ssl.cli import main
from residual_ssl.config.changes import changed
from residual_ssl.errors import ConfigError

CONFIG = {
    "task": {
        "_target_": "Task",
        "source": {"root": "/data", "masks": ["/data/masks", "/database/masks"], "count": 3},
        "pair": {"source": {"folder": "/one"}, "target": {"folder": "/two"}},
    },
    "evaluation_batch": 50,
}


def test_a_name_of_the_dataset_stands_for_the_key_and_for_paths_below_it() -> None:
    source = changed(CONFIG, ["dataset.root=/moved, here"])["task"]["source"]
    assert source["root"] == "/moved, here"
    assert source["masks"] == ["/moved, here/masks", "/database/masks"]
    assert CONFIG["task"]["source"]["root"] == "/data"


def test_a_stored_key_takes_a_value_of_its_kind() -> None:
    made = changed(CONFIG, ["evaluation_batch=1", "task.source.masks.1=2024", "task.source.count=null"])
    assert made["evaluation_batch"] == 1
    assert made["task"]["source"]["masks"][1] == "2024", "text where text was"
    assert made["task"]["source"]["count"] is None


def test_all_that_cannot_be_changed_is_said_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        changed(CONFIG, ["dataset.rot=/x", "dataset.folder=/x", "task._target_=os.system", "root", "evaluation_bath=2"])
    lines = str(raised.value).splitlines()
    assert "no such key; close ones: dataset.root" in lines[0]
    assert "task.pair.source.folder (/one), task.pair.target.folder (/two)" in lines[1]
    assert "what a run is built of cannot be changed" in lines[2]
    assert "expected KEY=VALUE" in lines[3]
    assert "close ones: evaluation_batch" in lines[4]


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run, and where its data lie now."""
    root = tmp_path_factory.mktemp("moved")
    draw = np.random.default_rng(0)
    for part, count in (("train", 6), ("val", 3)):
        for kind in ("images", "masks"):
            (root / "data" / part / kind).mkdir(parents=True)
        for index in range(count):
            mask = np.zeros((32, 32), np.uint8)
            mask[8:20, 8:20] = 1
            image = (draw.integers(0, 80, (32, 32, 3)) + 150 * mask[..., None]).astype(np.uint8)
            Image.fromarray(image).save(root / "data" / part / "images" / f"{index}.png")
            Image.fromarray(mask).save(root / "data" / part / "masks" / f"{index}.png")
    train(
        compose(
            [
                *("dataset=folders", f"dataset.root={root / 'data'}", "dataset.classes=[ground,box]"),
                *("dataset.labelled=3", "dataset.geometry.crop=32", "labelled_batch=2", "unlabelled_batch=2"),
                *("warmup_steps=0", "steps=1", "device=cpu", "algorithm=csl", f"run_dir={root / 'run'}"),
            ]
        )
    )
    shutil.move(root / "data", root / "elsewhere now")
    return root / "run", root / "elsewhere now"


def test_a_run_is_evaluated_where_its_data_are_now(
    moved: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run, data = moved
    assert main(["evaluate", str(run)]) == 2
    assert "is not a folder" in capsys.readouterr().err
    assert main(["evaluate", str(run), "--set", f"dataset.root={data}", "--set", "evaluation_batch=1"]) == 0
    assert "mIoU" in capsys.readouterr().out
    assert evaluate(run, changes=[f"dataset.root={data}"])["step"] == 1
    assert main(["evaluate", str(run), "--set", f"dataset.rooot={data}"]) == 2
    assert "close ones: dataset.root" in capsys.readouterr().err


def test_prediction_needs_no_data_and_takes_the_same_settings(moved: tuple[Path, Path], tmp_path: Path) -> None:
    run, data = moved
    image = data / "val" / "images" / "0.png"
    assert predict(run, image, tmp_path / "one")
    assert predict(run, image, tmp_path / "two", changes=[f"dataset.root={data}"])


def test_a_report_without_data_leaves_the_pictures_out_and_says_so(moved: tuple[Path, Path], tmp_path: Path) -> None:
    run, data = moved
    for name, more in (("without", []), ("with", ["--set", f"dataset.root={data}"])):
        assert main(["report", str(run), "--out", str(tmp_path / f"{name}.html"), *more]) == 0
    without, whole = ((tmp_path / f"{name}.html").read_text(encoding="utf-8") for name in ("without", "with"))
    assert "no pictures of samples" in without
    assert "--set dataset.root=FOLDER" in without
    assert "Over the course of training" in without
    assert "What a run sees" not in without
    assert "What a run sees" in whole
    assert "no pictures of samples" not in whole
