"""Regions of images: files and superpixels, and that they stay in register with the pixels under augmentation."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.tiny_runs import tiny_config
from PIL import Image
from torch import Tensor

from residual_ssl import train
from residual_ssl.config.components import build
from residual_ssl.data import SLIC, RegionFiles, Sample, StoredSample, merged_masks
from residual_ssl.engine.records.run_log import read_log
from residual_ssl.errors import ConfigError, DataError, InvalidInputError, MissingDataError
from residual_ssl.tasks.segmentation import WeakGeometry
from residual_ssl.tasks.segmentation.frozen_maps import FrozenMaps, FrozenMapSamples, ViewAugmentation
from residual_ssl.tasks.segmentation.samples import packed_points, unlabelled_entries


def brightness(image: Tensor, name: str) -> Tensor:
    """Regions that can be seen in the picture: its red channel is the id."""
    return image[0].long()


def picture() -> Tensor:
    """Columns of a colour each, so that a point's region is read off its colour."""
    columns = torch.arange(0, 240, 10, dtype=torch.uint8).repeat_interleave(2)
    return columns.expand(3, 32, 48).contiguous()


@pytest.mark.parametrize("draw", range(4))
def test_regions_truth_and_pixels_move_together(draw: int) -> None:
    geometry = WeakGeometry((40, 40), scale=(1.0, 1.0), flip=0.5)
    mask = torch.where(picture()[0] > 100, 1, -1)  # -1: of none of the classes
    entries = unlabelled_entries(
        Sample(picture(), mask, "a"), torch.Generator().manual_seed(draw), geometry, 255, brightness
    )
    valid, regions = entries["valid"], entries["regions"]
    assert not valid.all()
    assert torch.equal(regions[valid], (entries["input"][0] * 255).round().long()[valid])
    assert (regions[~valid] == -1).all()
    assert torch.equal(entries["truth"], torch.where(regions > 100, 1, -1).where(valid, 255))


def test_regions_and_stored_labels_travel_in_one_map() -> None:
    label = torch.arange(12).reshape(3, 4)
    weight = torch.tensor([0, 1, 128, 255], dtype=torch.uint8).expand(3, 4)
    sample = StoredSample(torch.zeros(3, 3, 4, dtype=torch.uint8), label, weight, "a")
    regions = torch.tensor([-1, 0, 65_535, 10**6]).expand(3, 4)
    as_is = WeakGeometry((3, 4), scale=(1.0, 1.0), flip=0.0)
    entries = unlabelled_entries(sample, torch.Generator(), as_is, 255, lambda image, name: regions)
    assert torch.equal(entries["regions"], regions)
    assert torch.equal(entries["stored"][0], label.float())
    torch.testing.assert_close(entries["stored"][1], weight / 255)
    assert packed_points(None) is None


def test_regions_of_frozen_maps_are_those_under_the_centres_of_the_grid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESIDUAL_SSL_CACHE", str(tmp_path))
    maps = FrozenMaps("resnet10t", (32, 48), stride=4)
    augmentation = ViewAugmentation(WeakGeometry((32, 48), scale=(1.0, 1.5), flip=0.5))
    mask = picture()[0].long() // 10
    samples = FrozenMapSamples([Sample(picture(), mask, "a")], maps, augmentation, 3, brightness)
    for view in range(3):
        found = samples[0].targets(view)
        assert found.regions is not None
        assert found.mask is not None
        assert found.regions.shape == (8, 12)
        assert torch.equal(found.regions[found.valid] // 10, found.mask[found.valid])
    assert FrozenMapSamples([Sample(picture(), mask, "a")], maps, augmentation, 3)[0].targets(1).regions is None


def test_files_hold_ids_and_zero_for_none(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    ids = np.array([[0, 1, 300], [2, 2, 0]], np.uint16)
    Image.fromarray(ids).save(tmp_path / "train" / "a.png")
    image = torch.zeros(3, 2, 3, dtype=torch.uint8)
    regions = RegionFiles(tmp_path)
    for name in ("train/a.jpg", "train/a"):
        assert regions(image, name).tolist() == [[-1, 0, 299], [1, 1, -1]]
    Image.fromarray(ids.clip(max=255).astype(np.uint8)).save(tmp_path / "train" / "c.png")
    assert regions(image, "train/c.jpg").tolist() == [[-1, 0, 254], [1, 1, -1]]
    with pytest.raises(MissingDataError, match=r"b.png: no regions for the sample train/b.jpg"):
        regions(image, "train/b.jpg")
    with pytest.raises(DataError, match=r"a.png: regions of 3×2, expected 5×4"):
        regions(torch.zeros(3, 4, 5, dtype=torch.uint8), "train/a.jpg")


def test_the_smaller_of_two_masks_lies_above() -> None:
    masks = torch.zeros(3, 4, 4, dtype=torch.bool)
    masks[0, :2, :2] = True
    masks[1, :3] = True
    masks[2, 0, 0] = True
    assert merged_masks(masks).tolist() == [[3, 1, 2, 2], [1, 1, 2, 2], [2, 2, 2, 2], [0, 0, 0, 0]]
    with pytest.raises(InvalidInputError, match=r"masks: got torch\.int64"):
        merged_masks(masks.long())


def test_superpixels_follow_colours() -> None:
    pytest.importorskip("skimage")
    image = torch.zeros(3, 40, 60, dtype=torch.uint8)
    image[:, :, 23:] = 200
    found = SLIC(segments=24)(image, "a")
    assert found.dtype == torch.int64
    assert found.min() == 0
    assert 8 <= found.unique().numel() <= 40
    left, right = set(found[:, :23].unique().tolist()), set(found[:, 23:].unique().tolist())
    assert not left & right


@pytest.mark.filterwarnings("ignore::residual_ssl.errors.ResidualSSLWarning")
def test_a_run_learns_from_labels_voted_within_superpixels(tmp_path: Path) -> None:
    pytest.importorskip("skimage")
    train(tiny_config(tmp_path / "run", "algorithm=fixmatch", "regions=slic", "selector=regions", "steps=2"))
    rows = [row for row in read_log(tmp_path / "run") if "train/coverage" in row]
    assert len(rows) == 2


@pytest.mark.filterwarnings("ignore::residual_ssl.errors.ResidualSSLWarning")
def test_a_run_learns_from_labels_voted_within_stored_regions(tmp_path: Path) -> None:
    config = tiny_config(
        tmp_path / "run",
        *("algorithm=fixmatch", "regions=stored", "selector=regions", "steps=2"),
        *(f"task.regions.folder={tmp_path}", "selector@selector.rule=none"),
    )
    task = build(config["task"], "task")
    samples: Any = task.source.unlabelled
    halves = torch.ones(64, 64, dtype=torch.uint8)
    halves[:, 32:] = 2
    for i in range(len(samples)):
        path = tmp_path / f"{samples[i].name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(halves.numpy()).save(path)
    assert task.unlabelled(0)[0, 0]["regions"].unique().tolist()[-2:] == [0, 1]
    train(config)
    rows = [row for row in read_log(tmp_path / "run") if "train/coverage" in row]
    assert len(rows) == 2
    assert all(0 < row["train/coverage"] <= 1 for row in rows)


def test_regions_that_are_not_there_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"RegionVote judges by regions of the samples.*say regions=slic"):
        train(tiny_config(tmp_path / "run", "algorithm=fixmatch", "selector=regions"))
