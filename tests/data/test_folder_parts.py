"""Large rasters by windows, stacks by pages, volumes by slices: samples, training, predictions."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from residual_ssl import compose, train
from residual_ssl.cli import main
from residual_ssl.commands.doctor import examine
from residual_ssl.data import DatasetSpec, ImageFolders, ImageReading

GENERATOR = np.random.default_rng(0)
TRAIN = {"images": "images", "masks": "masks"}


def write_rasters(root: Path, count: int = 3, size: tuple[int, int] = (40, 50)) -> None:
    for kind in TRAIN.values():
        (root / kind).mkdir()
    for number in range(count):
        pixels = GENERATOR.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{number}.png")
        Image.fromarray((pixels[..., 0] > 127).astype(np.uint8)).save(root / "masks" / f"{number}.png")


def write_stacks(root: Path, count: int = 3, pages: int = 4) -> None:
    for kind in TRAIN.values():
        (root / kind).mkdir()
    for number in range(count):
        values = GENERATOR.normal(1000, 50, (pages, 24, 24)).astype(np.uint16)
        values[:, 6:14, 6:14] += 400
        for kind, stack in (("images", values), ("masks", (values > 1200).astype(np.uint8))):
            first, *others = map(Image.fromarray, stack)
            first.save(root / kind / f"{number}.tif", save_all=True, append_images=others)


def folders(root: Path, reading: ImageReading, labelled: int = 1) -> ImageFolders:
    return ImageFolders(root, DatasetSpec(["ground", "field"]), TRAIN, None, labelled, reading=reading)


def test_windows_are_samples_with_the_labels_that_lie_there(tmp_path: Path) -> None:
    write_rasters(tmp_path)
    source = folders(tmp_path, ImageReading(tile=32, overlap=8))
    assert (len(source.labelled), len(source.unlabelled)) == (4, 8)  # two by two windows of each file
    names = [source.labelled[i].name for i in range(4)]
    assert [name.partition("@")[2] for name in names] == ["0+0", "0+18", "8+0", "8+18"]
    for index in range(4):
        sample = source.labelled[index]
        top, left = map(int, sample.name.partition("@")[2].split("+"))
        whole = np.array(Image.open(source.labelled.files(index)[0]))[top : top + 32, left : left + 32]
        assert np.array_equal(sample.image.numpy(), whole.transpose(2, 0, 1))
        assert np.array_equal(sample.mask.numpy(), whole[..., 0] > 127)
    assert len({source.unlabelled[i].name for i in range(8)}) == 8
    assert source.unlabelled[0].mask is None


def test_pages_are_samples_with_the_labels_of_their_page(tmp_path: Path) -> None:
    write_stacks(tmp_path)
    source = folders(tmp_path, ImageReading(channels=1, slices=True))
    assert (len(source.labelled), len(source.unlabelled)) == (4, 8)
    for index in range(4):
        sample = source.labelled[index]
        assert np.array_equal(sample.mask.numpy(), sample.image[0].numpy() > 1200)
    assert sorted(source.labelled[i].name.partition("@")[2] for i in range(4)) == ["0", "1", "2", "3"]


@pytest.mark.filterwarnings("ignore::residual_ssl.errors.ResidualSSLWarning")
def test_stacks_train_and_their_predictions_are_numbered(tmp_path: Path) -> None:
    write_stacks(tmp_path)
    data = ["dataset=folders", f"dataset.root='{tmp_path}'", "dataset.classes=[ground,field]", "dataset.labelled=1"]
    parts = ["dataset.train={images: images, masks: masks}", "dataset.validation=null", "dataset.channels=1"]
    short = ["dataset.slices=true", "dataset.geometry.crop=24", "dataset.mask_block=8", "+model.widths=[8]", "steps=1"]
    run = [f"run_dir='{tmp_path / 'run'}'", "device=cpu", "labelled_batch=2", "unlabelled_batch=2"]
    train(compose([*data, *parts, *short, *run]))
    out = tmp_path / "out"
    assert main(["predict", str(tmp_path / "run"), str(tmp_path / "images"), "--out", str(out), "--quiet"]) == 0
    labels = sorted(path.name for path in out.glob("*_label.png"))
    assert labels == [f"{number}_{page:04d}_label.png" for number in range(3) for page in range(4)]
    assert main(["look", *data, *parts, short[0], "--out", str(tmp_path / "sheet.png")]) == 0
    assert examine([*data, *parts, short[0]], workers=0).faults == []


@pytest.mark.filterwarnings("ignore::residual_ssl.errors.ResidualSSLWarning", "ignore::PendingDeprecationWarning")
def test_predictions_of_a_geotiff_lie_where_it_lies(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    write_rasters(tmp_path, size=(36, 44))
    profile = {"driver": "GTiff", "height": 36, "width": 44, "count": 5, "dtype": "int16", "crs": "EPSG:32633"}
    for file in (tmp_path / "images").iterdir():
        with rasterio.open(
            file.with_suffix(".tif"), "w", **profile, transform=rasterio.transform.from_origin(5e5, 5e6, 10, 10)
        ) as raster:
            raster.write(GENERATOR.integers(-50, 3000, (5, 36, 44)).astype(np.int16))
        file.unlink()
    data = ["dataset=folders", f"dataset.root='{tmp_path}'", "dataset.classes=[ground,field]", "dataset.labelled=2"]
    parts = ["dataset.train={images: images, masks: masks}", "dataset.validation=null", "dataset.channels=5"]
    short = ["dataset.tile=24", "dataset.geometry.crop=24", "dataset.mask_block=8", "+model.widths=[8]", "steps=1"]
    run = [f"run_dir='{tmp_path / 'run'}'", "device=cpu", "labelled_batch=2", "unlabelled_batch=2"]
    train(compose([*data, *parts, *short, *run]))
    raster = tmp_path / "images" / "0.tif"
    command = ["predict", str(tmp_path / "run"), str(raster), "--out", str(tmp_path / "out"), "--tile", "32", "--quiet"]
    assert main(command) == 0
    with rasterio.open(raster) as given, rasterio.open(tmp_path / "out" / "0_label.tif") as label:
        assert (label.crs, label.transform, label.shape) == (given.crs, given.transform, given.shape)
        assert np.array_equal(label.read(1), np.array(Image.open(tmp_path / "out" / "0_label.png")))
        assert label.colormap(1)[1][:3] == (128, 0, 0)
    with rasterio.open(tmp_path / "out" / "0_trust.tif") as trust:
        assert 0 <= trust.read(1).min() <= trust.read(1).max() <= 1
