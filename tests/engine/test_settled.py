"""What follows from the training data is stored with a run: it predicts, continues and travels without the data."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from residual_ssl import Callbacks, compose, load, train
from residual_ssl.cli import main
from residual_ssl.engine.records.trained import load_run
from residual_ssl.errors import ConfigError, ResidualSSLWarning

pytestmark = pytest.mark.filterwarnings("ignore::residual_ssl.errors.ResidualSSLWarning")


def write_deep(root: Path, count: int = 8) -> None:
    """Grey images of 16 bits around 3,000 with a brighter square, and their masks."""
    generator = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        ids = np.zeros((32, 32), np.uint8)
        ids[8:20, 8:20] = 1
        pixels = generator.normal(3000, 100, (32, 32)) + 900.0 * ids
        Image.fromarray(pixels.astype(np.uint16)).save(root / "images" / f"{number}.png")
        Image.fromarray(ids).save(root / "masks" / f"{number}.png")


def config(root: Path, *overrides: str) -> dict:
    data = ["dataset=folders", f"dataset.root='{root}'", "dataset.classes=[ground,box]", "dataset.labelled=4"]
    folders = ["dataset.train={images: images, masks: masks}", "dataset.validation=null", "dataset.channels=1"]
    size = ["model=small_segmenter", "+model.widths=[8,16]", "dataset.geometry.crop=32", "dataset.mask_block=8"]
    short = ["steps=2", "log_every=1", "labelled_batch=2", "unlabelled_batch=4", "warmup_steps=0"]
    return compose([*data, *folders, *size, *short, "device=cpu", f"run_dir='{root / 'run'}'", *overrides])


def test_statistics_are_stored_and_used_for_prediction_without_the_data(tmp_path: Path) -> None:
    write_deep(tmp_path)
    train(config(tmp_path))
    stored = json.loads((tmp_path / "run" / "config.json").read_text())["task"]
    low, high = stored["value_range"]
    assert 2500 < low[0] < 2900
    assert 3900 < high[0] < 4400
    image = tmp_path / "photo.png"
    shutil.move(tmp_path / "images" / "0.png", image)
    shutil.rmtree(tmp_path / "images")
    shutil.rmtree(tmp_path / "masks")
    trained = load_run(tmp_path / "run", device="cpu")
    found = trained.task.read(image)
    values = (np.array(Image.open(image)).astype(np.float64) - low[0]) / (high[0] - low[0])
    np.testing.assert_allclose(found[0].numpy(), values.clip(0, 1), atol=1e-5)
    assert main(["predict", str(tmp_path / "run"), str(image), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == 4
    prediction = load(tmp_path / "run", device="cpu").predict(image)
    assert np.array_equal(np.array(Image.open(tmp_path / "out" / "photo_label.png")), prediction.label.numpy())
    shared = load(tmp_path / "run", device="cpu").save_pretrained(tmp_path / "shared")
    assert torch.equal(load(shared, device="cpu").predict(image).label, prediction.label)


def test_a_run_continues_with_what_it_settled_and_not_with_anything_else(tmp_path: Path) -> None:
    write_deep(tmp_path)
    length = [f"run_dir='{tmp_path / 'whole'}'", "steps=4", "evaluate_every=2"]
    whole = train(config(tmp_path, *length))
    first = torch.load(tmp_path / "whole" / "last.pt", weights_only=True)
    assert first["settled"] == {"task.mean": None, "task.std": None, "task.value_range": None}
    # The same settings: the finished run is only reported, though the images would now give other statistics.
    for file in (tmp_path / "images").iterdir():
        Image.fromarray(np.array(Image.open(file)) * 2).save(file)
    again = train(config(tmp_path, *length))
    assert again.training == whole.training
    with pytest.raises(ConfigError, match=r"run with other settings.*\n.*task.value_range.0"):
        train(config(tmp_path, *length, "dataset.value_range=[0, 100]"))


def test_a_stopped_run_takes_its_statistics_from_its_checkpoint(tmp_path: Path) -> None:
    write_deep(tmp_path)
    made = config(tmp_path, "steps=4", "checkpoint_every=2", "evaluate_every=4")
    with pytest.raises(RuntimeError, match="power cut"):
        train(made, callbacks=Callbacks(on_log=cut_off_at_three))
    before = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    for file in (tmp_path / "images").iterdir():
        Image.fromarray(np.array(Image.open(file)) + 500).save(file)
    train(made)
    after = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert (before["step"], after["step"]) == (2, 4)
    assert after["config"]["task"]["value_range"] == before["config"]["task"]["value_range"]
    assert after["settled"] == before["settled"]


def cut_off_at_three(step: int, row: object) -> None:
    if step == 3:
        raise RuntimeError("power cut")


def test_views_of_other_channels_are_said_and_learned_from(tmp_path: Path) -> None:
    write_deep(tmp_path)
    with pytest.warns(ResidualSSLWarning, match="images of 1 channels; views change brightness"):
        result = train(config(tmp_path, "algorithm=csl"))
    assert np.isfinite(result.training["loss"])
