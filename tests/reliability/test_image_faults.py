"""Images that would be misread are refused, and one bad image does not end a training."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.folder_sets import folder_config, write_folders
from helpers.tiff_files import write_tiff
from PIL import Image

from residual_ssl import train
from residual_ssl.data import DatasetSpec, ImageFolders, read_image, read_mask
from residual_ssl.errors import DataError, ResidualSSLWarning
from residual_ssl.tasks.segmentation import WeakGeometry

SIZE = (12, 16)


def _pages(path: Path) -> None:
    pages = [Image.fromarray(np.full((*SIZE, 3), value, np.uint8)) for value in (10, 200)]
    pages[0].save(path, save_all=True, append_images=pages[1:])


MISREAD: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "16-bit colour": ("a.tif", lambda path: write_tiff(path, SIZE, 3, 16), r"expected 8 bits per channel"),
    "fourth band": ("a.tif", lambda path: write_tiff(path, SIZE, 4, 8), r"fourth band that is no alpha"),
    "pages of a TIFF": ("a.tif", _pages, r"2 pages, expected one image"),
    "frames of a GIF": ("a.gif", _pages, r"2 pages, expected one image"),
    "16-bit grey": (
        "a.png",
        lambda path: Image.fromarray(np.zeros(SIZE, np.uint16)).save(path),
        r"expected 8 bits per channel",
    ),
    "floating grey": (
        "a.tif",
        lambda path: Image.fromarray(np.zeros(SIZE, np.float32)).save(path),
        r"expected 8 bits per channel",
    ),
}


@pytest.mark.parametrize("fault", MISREAD)
def test_what_would_be_lost_in_silence_is_refused(fault: str, tmp_path: Path) -> None:
    name, write, message = MISREAD[fault]
    write(tmp_path / name)
    with pytest.raises(DataError, match=message):
        read_image(tmp_path / name)


def test_a_mask_of_two_pages_is_refused(tmp_path: Path) -> None:
    page = Image.fromarray(np.zeros(SIZE, np.uint8))
    page.save(tmp_path / "m.tif", save_all=True, append_images=[page.copy()])
    with pytest.raises(DataError, match=r"2 pages, expected one mask"):
        read_mask(tmp_path / "m.tif")


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "CMYK"])
def test_what_means_the_same_in_rgb_is_read(mode: str, tmp_path: Path) -> None:
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.new("RGB", SIZE, (200, 200, 200)).convert(mode).save(path)
    assert abs(int(read_image(path).float().mean()) - 200) <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("shape", [(40, 48), (48, 48)], ids=["oblong", "square"])
def test_an_exif_orientation_never_parts_an_image_from_its_mask(
    orientation: int, shape: tuple[int, int], tmp_path: Path
) -> None:
    for folder in ("t/i", "t/m"):
        (tmp_path / folder).mkdir(parents=True)
    pixels = np.zeros((*shape, 3), np.uint8)
    pixels[:10, :20] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "t/i/a.jpg", quality=100, exif=exif)
    Image.fromarray(pixels[..., 0] // 255).save(tmp_path / "t/m/a.png")  # as stored, not turned
    source = ImageFolders(
        tmp_path, DatasetSpec(["dark", "bright"]), {"images": "t/i", "masks": "t/m"}, None, labelled="all"
    )
    if orientation == 1:
        sample = source.labelled[0]
        assert ((sample.image.float().mean(0) > 127).long() == sample.mask).float().mean() > 0.99
        return
    with pytest.raises(DataError, match=r"a\.jpg.*(EXIF orientation|of one size|the same size)"):
        source.labelled[0]


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 50), (50, 1), (2, 300)])
@pytest.mark.parametrize("scale", [0.1, 0.5, 2.0])
def test_tiny_images_pass_the_weak_augmentation(size: tuple[int, int], scale: float) -> None:
    image, mask = torch.full((3, *size), 7, dtype=torch.uint8), torch.ones(size, dtype=torch.long)
    pixels, target, valid = WeakGeometry(16, scale=(scale, scale))(image, mask)
    assert pixels.shape == (3, 16, 16)
    assert target is not None
    assert pixels[:, valid].mul(255).round().unique().tolist() == [7]
    assert target[valid].unique().tolist() == [1]


def test_an_unreadable_unlabelled_image_gives_way_to_another(tmp_path: Path) -> None:
    write_folders(tmp_path, train=12)
    bad = tmp_path / "train/images/9.png"
    bad.write_bytes(bad.read_bytes()[:200])
    config = folder_config(tmp_path, "algorithm=fixmatch", "steps=6", "evaluate_every=6")
    with pytest.warns(ResidualSSLWarning, match=r"left out, another takes its place: .*9\.png"):
        result = train(config)
    assert result.last["step"] == 6


def test_an_unreadable_labelled_image_is_said_before_the_first_step(tmp_path: Path) -> None:
    write_folders(tmp_path, train=4)
    bad = tmp_path / "train/masks/2.png"
    bad.write_bytes(bad.read_bytes()[:40])
    with pytest.raises(DataError, match=r"2\.png: the mask cannot be read"):
        train(folder_config(tmp_path, "algorithm=supervised"))
    assert not (tmp_path / "run/log.jsonl").exists()


def test_images_of_unequal_size_are_evaluated(tmp_path: Path) -> None:
    write_folders(tmp_path, validation=4, size=lambda index: (32, 32 + 8 * (index % 2)))
    result = train(folder_config(tmp_path, "algorithm=supervised", "evaluation_batch=3"))
    alone = train(folder_config(tmp_path, "algorithm=supervised", "evaluation_batch=1", f"run_dir={tmp_path / 'b'}"))
    assert result.last["miou"] == alone.last["miou"]


def test_a_mask_that_exif_turns_is_refused(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((4, 6), np.uint8)).save(tmp_path / "m.png", exif=exif)
    with pytest.raises(DataError, match=r"m\.png: mask with the EXIF orientation 6, expected none"):
        read_mask(tmp_path / "m.png")
