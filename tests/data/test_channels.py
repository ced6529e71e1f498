"""Files of other depths and numbers of channels, and parts of files: the values that are in them, or a clear fault."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.png_files import write_deep_colours
from PIL import Image

from residual_ssl.data import ImageReading, read_channels
from residual_ssl.data.channels import layout_of, read_mask_part
from residual_ssl.data.rasters import Part
from residual_ssl.errors import ConfigError, DataError, MissingDataError, MissingPackageError

GENERATOR = np.random.default_rng(0)


def deep(*shape: int) -> np.ndarray:
    return GENERATOR.integers(0, 65536, shape, dtype=np.uint16)


def test_colours_of_16_bits_keep_all_of_them(tmp_path: Path) -> None:
    pixels = deep(5, 7, 3)
    write_deep_colours(tmp_path / "a.png", pixels)
    image = read_channels(tmp_path / "a.png", 3)
    assert image.dtype == torch.float32
    assert np.array_equal(image.numpy(), pixels.transpose(2, 0, 1))


@pytest.mark.parametrize("kind", ["uint16", "float32"])
def test_one_channel_of_more_than_8_bits_keeps_its_values(tmp_path: Path, kind: str) -> None:
    pixels = deep(5, 7).astype(kind) / np.array(3 if kind == "float32" else 1, kind)
    Image.fromarray(pixels.astype(kind)).save(tmp_path / "a.tif")
    assert np.array_equal(read_channels(tmp_path / "a.tif", 1)[0].numpy(), pixels.astype(np.float32))
    assert tuple(layout_of(tmp_path / "a.tif")) == (1, 1, 5, 7, False)


def test_8_bits_stay_bytes_without_their_alpha_unless_it_is_asked_for(tmp_path: Path) -> None:
    pixels = GENERATOR.integers(0, 256, (4, 6, 4), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(pixels[..., 0]).save(tmp_path / "grey.png")
    assert np.array_equal(read_channels(tmp_path / "a.png", 3).numpy(), pixels[..., :3].transpose(2, 0, 1))
    assert np.array_equal(read_channels(tmp_path / "a.png", 4).numpy(), pixels.transpose(2, 0, 1))
    assert read_channels(tmp_path / "grey.png", 1).dtype == torch.uint8
    assert tuple(layout_of(tmp_path / "a.png")) == (1, 3, 4, 6, True)


def test_another_number_of_channels_is_named_with_the_one_that_is_asked_for(tmp_path: Path) -> None:
    Image.fromarray(GENERATOR.integers(0, 256, (4, 6, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: image of 3 channels, expected 5 \(dataset.channels\)"):
        read_channels(tmp_path / "a.png", 5)
    with pytest.raises(MissingDataError, match="no such image file"):
        read_channels(tmp_path / "b.tif", 5)
    with pytest.raises(ConfigError, match="channels: got 17, expected 1 to 16"):
        ImageReading(channels=17)


def test_windows_and_pages_are_what_the_whole_file_has_there(tmp_path: Path) -> None:
    pages = [GENERATOR.integers(0, 256, (9, 11), dtype=np.uint8) for _ in range(3)]
    first, *others = map(Image.fromarray, pages)
    first.save(tmp_path / "stack.tif", save_all=True, append_images=others)
    part = Part(2, (1, 3, 4, 5))
    assert np.array_equal(read_channels(tmp_path / "stack.tif", 1, part=part)[0], pages[2][1:5, 3:8])
    assert np.array_equal(read_mask_part(tmp_path / "stack.tif", part), pages[2][1:5, 3:8])
    with pytest.raises(DataError, match=r"file with 3 pages, expected one image; set dataset.slices=true"):
        read_channels(tmp_path / "stack.tif", 1)
    with pytest.raises(DataError, match="no page 3"):
        read_channels(tmp_path / "stack.tif", 1, part=Part(3))
    with pytest.raises(DataError, match="is 9×11"):
        read_channels(tmp_path / "stack.tif", 1, part=Part(0, (6, 0, 4, 4)))


@pytest.mark.parametrize(("tile", "overlap"), [(4, 0), (4, 2), (5, 1), (100, 0)])
def test_windows_cover_a_file_and_none_is_twice(tmp_path: Path, tile: int, overlap: int) -> None:
    Image.fromarray(GENERATOR.integers(0, 256, (9, 14, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    parts = ImageReading(tile=tile, overlap=overlap).parts(tmp_path / "a.png")
    seen = np.zeros((9, 14), int)
    for part in parts:
        assert part is not None
        top, left, height, width = part.window or (0, 0, 0, 0)
        assert (height, width) == (min(tile, 9), min(tile, 14))
        seen[top : top + height, left : left + width] += 1
    assert seen.min() >= 1
    assert len(set(parts)) == len(parts)
    tops = sorted({part.window[0] for part in parts if part is not None and part.window})
    assert all(b - a <= tile - overlap for a, b in pairwise(tops))


def test_without_channels_parts_are_photographs_and_nothing_else(tmp_path: Path) -> None:
    Image.fromarray(GENERATOR.integers(0, 256, (4, 6), dtype=np.uint8)).save(tmp_path / "grey.png")
    Image.fromarray(deep(4, 6)).save(tmp_path / "deep.png")
    reading, part = ImageReading(tile=3), Part(0, (0, 0, 3, 3))
    grey = reading.image(tmp_path / "grey.png", part)
    assert grey.shape == (3, 3, 3)
    assert torch.equal(grey[0], grey[2])
    with pytest.raises(DataError, match=r"more than 8 bits, expected RGB of 8 bits; set dataset.channels"):
        reading.image(tmp_path / "deep.png", part)


def test_packages_that_are_not_there_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("residual_ssl.data.rasters.importlib.import_module", missing)
    for name, extra in (("a.tif", "geotiff"), ("a.nii.gz", "volumes")):
        (tmp_path / name).write_bytes(b"II*\0 and more")
        with pytest.raises(MissingPackageError, match=rf"{name}: .*'residual-ssl\[{extra}\]'"):
            read_channels(tmp_path / name, 5)


def test_geotiff_files_have_any_bands_and_nothing_where_they_say_so(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    values = deep(5, 12, 17) // 2 + 1
    values[2, 3, 4] = 0
    profile = {"driver": "GTiff", "height": 12, "width": 17, "count": 5, "dtype": "uint16", "compress": "lzw"}
    place = rasterio.transform.from_origin(500_000, 5_000_000, 10, 10)
    with rasterio.open(tmp_path / "a.tif", "w", **profile, nodata=0, crs="EPSG:32633", transform=place) as file:
        file.write(values)
    image = read_channels(tmp_path / "a.tif", 5)
    assert image.isnan().nonzero().tolist() == [[2, 3, 4]]
    assert np.array_equal(np.nan_to_num(image.numpy()), values)
    assert tuple(layout_of(tmp_path / "a.tif")) == (1, 5, 12, 17, False)
    window = read_channels(tmp_path / "a.tif", 5, part=Part(0, (6, 2, 5, 9)))
    assert np.array_equal(window.numpy(), values[:, 6:11, 2:11])
    with pytest.raises(DataError, match="image of 5 channels, expected 3"):
        read_channels(tmp_path / "a.tif", 3)
    (tmp_path / "cut.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:300])
    with pytest.raises(DataError, match=r"cut\.tif: the image cannot be read"):
        read_channels(tmp_path / "cut.tif", 5)


def test_no_format_but_tiff_is_read_as_a_raster(tmp_path: Path) -> None:
    pytest.importorskip("rasterio")
    source = '<VRTDataset rasterXSize="4" rasterYSize="4"><VRTRasterBand dataType="Byte" band="1"/></VRTDataset>'
    (tmp_path / "a.tif").write_text(source)
    with pytest.raises(DataError, match="cannot be read"):
        read_channels(tmp_path / "a.tif", 1)


def test_slices_of_volumes_are_along_their_last_axis(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    values = GENERATOR.normal(size=(6, 8, 4)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "scan.nii.gz")
    nibabel.save(nibabel.Nifti1Image((values > 0).astype(np.uint8), np.eye(4)), tmp_path / "labels.nii.gz")
    parts = ImageReading(channels=1, slices=True).parts(tmp_path / "scan.nii.gz")
    assert parts == [Part(0), Part(1), Part(2), Part(3)]
    assert np.array_equal(read_channels(tmp_path / "scan.nii.gz", 1, part=Part(2))[0], values[..., 2])
    assert np.array_equal(read_mask_part(tmp_path / "labels.nii.gz", Part(2)), values[..., 2] > 0)
    with pytest.raises(DataError, match="4 pages"):
        read_channels(tmp_path / "scan.nii.gz", 1)
    with pytest.raises(DataError, match="expected one of whole ids"):
        read_mask_part(tmp_path / "scan.nii.gz", Part(0))
