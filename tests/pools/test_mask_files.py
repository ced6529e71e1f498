"""Mask files of another program as stored labels: what they hold, what is wrong with them, and that they teach."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.folder_sets import folder_config, write_folders
from PIL import Image

from residual_ssl import train
from residual_ssl.config.components import build
from residual_ssl.data import WithStoredMasks
from residual_ssl.engine.records.run_log import read_log
from residual_ssl.errors import ConfigError, DataError, MissingDataError


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """Masks for all training images: columns of ground, box, and nothing known."""
    write_folders(tmp_path, train=8)
    folder = tmp_path / "stored" / "train" / "images"
    folder.mkdir(parents=True)
    ids = np.repeat(np.array([0, 1, 255, 1], np.uint8), 8)[None].repeat(32, 0)
    for i in range(8):
        Image.fromarray(ids).save(folder / f"{i}.png")
    return tmp_path / "stored"


def config(root: Path, *overrides: str) -> dict:  # type: ignore[type-arg]
    return folder_config(root, "pool=masks", f"dataset.pool='{root / 'stored'}'", *overrides)


def test_ids_become_labels_and_what_is_not_known_weighs_nothing(tmp_path: Path, stored: Path) -> None:
    source = build(config(tmp_path)["task"], "task").source
    assert len(source.unlabelled) == 4
    samples = pickle.loads(pickle.dumps(source.unlabelled))  # as loading processes get it
    sample = samples[1]
    assert sample.pseudo_label[0, ::8].tolist() == [0, 1, 0, 1]
    assert sample.weight[0, ::8].tolist() == [255, 255, 0, 255]
    assert samples.mask(1) is None
    label, weight = samples.pseudo_label(1)
    assert torch.equal(label, sample.pseudo_label)
    assert torch.equal(weight, sample.weight)
    assert samples.files(1)[0].name == Path(sample.name).name


def test_weights_come_from_files_of_the_same_names(tmp_path: Path, stored: Path) -> None:
    weights = tmp_path / "weights" / "train" / "images"
    weights.mkdir(parents=True)
    for i in range(8):
        Image.fromarray(np.full((32, 32), 51, np.uint8)).save(weights / f"{i}.png")
    told = f"dataset.pool_weights='{tmp_path / 'weights'}'"
    task = build(config(tmp_path, told, "dataset.geometry.scale=[1.0,1.0]")["task"], "task")
    label, weight = task.unlabelled(0)[2, 0]["stored"]
    shown = {int(k): weight[label == k].unique().tolist() for k in (0, 1)}
    assert shown[1] == pytest.approx([0.2])
    assert shown[0] == pytest.approx([0.0, 0.2])


def test_what_is_wrong_is_named(tmp_path: Path, stored: Path) -> None:
    samples = build(config(tmp_path)["task"], "task").source.unlabelled
    name = samples[0].name
    file = stored / name
    Image.fromarray(np.zeros((16, 32), np.uint8)).save(file)
    with pytest.raises(DataError, match="expected the same size"):
        samples[0]
    Image.fromarray(np.full((32, 32), 9, np.uint8)).save(file)
    with pytest.raises(DataError, match=file.name):
        samples[0]
    file.unlink()
    with pytest.raises(MissingDataError, match=f"no stored mask for the image {name}"):
        samples[0]
    with pytest.raises(MissingDataError, match="is no folder of mask files"):
        WithStoredMasks(lambda: build(config(tmp_path)["task"], "task").source, tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="masks are labels of pixels"):
        WithStoredMasks(object, stored)


@pytest.mark.filterwarnings("ignore::residual_ssl.errors.ResidualSSLWarning")
def test_they_teach_with_their_weights(tmp_path: Path, stored: Path) -> None:
    train(config(tmp_path, "algorithm=fixmatch", "selector=stored", "dataset.geometry.scale=[1.0,1.0]"))
    rows = [row for row in read_log(tmp_path / "run") if "train/coverage" in row]
    assert [row["train/coverage"] for row in rows] == pytest.approx([0.75] * 2)
