"""Reading and resizing files, including the ones that should not be read as they seem."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.png_files import GREY, write_deep_colours, write_png
from PIL import Image

from residual_ssl.data import read_image, read_mask, resize_image, resize_mask
from residual_ssl.errors import DataError, MissingDataError


def _colours(height: int = 5, width: int = 7) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _grey_png(path: Path, ids: np.ndarray, bits: int) -> None:
    """A greyscale PNG of 2 or 4 bits, which Pillow reads but does not write."""
    rows = []
    for row in ids:
        text = "".join(f"{value:0{bits}b}" for value in row)
        text += "0" * (-len(text) % 8)
        rows.append(int(text, 2).to_bytes(len(text) // 8, "big"))
    write_png(path, rows, ids.shape[1], bits, GREY)


def test_image_is_rgb_uint8_channels_first(tmp_path: Path) -> None:
    pixels = _colours()
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.dtype == torch.uint8
    assert image.is_contiguous()
    assert np.array_equal(image.numpy(), pixels.transpose(2, 0, 1))


def test_open_files_read_as_paths_do_and_are_called_by_the_name_given(tmp_path: Path) -> None:
    Image.fromarray(_colours()).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    assert torch.equal(read_image(BytesIO(content)), read_image(tmp_path / "a.png"))
    with pytest.raises(DataError, match=r"^row 7: the image cannot be read"):
        read_image(BytesIO(content[:40]), "row 7")
    with pytest.raises(DataError, match=r"^row 7: mask of mode RGB"):
        read_mask(BytesIO(content), "row 7")


def test_grey_palette_and_alpha_images_become_rgb(tmp_path: Path) -> None:
    grey = _colours()[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(_colours()).convert("RGBA").save(tmp_path / "alpha.png")
    palette = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), mode="P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.save(tmp_path / "palette.png")
    assert all(np.array_equal(channel, grey) for channel in read_image(tmp_path / "grey.png").numpy())
    assert np.array_equal(read_image(tmp_path / "alpha.png").numpy(), _colours().transpose(2, 0, 1))
    assert read_image(tmp_path / "palette.png")[:, 0].T.tolist() == [[10, 20, 30], [40, 50, 60]]


def test_exif_orientation_is_applied_to_images(tmp_path: Path) -> None:
    pixels = _colours()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.png").permute(1, 2, 0).numpy(), np.rot90(pixels, k=-1))


@pytest.mark.parametrize("mode", ["L", "P"])
def test_mask_gives_ids_and_never_colours(tmp_path: Path, mode: str) -> None:
    ids = np.array([[0, 1, 2], [20, 254, 255]], dtype=np.uint8)
    file = Image.fromarray(ids, mode=mode)
    if mode == "P":
        file.putpalette([value for i in range(256) for value in (255 - i, i // 2, 7)])
    file.save(tmp_path / "m.png")
    mask = read_mask(tmp_path / "m.png")
    assert mask.dtype == torch.uint8
    assert mask.tolist() == ids.tolist()


@pytest.mark.parametrize("name", ["m.png", "m.tif"])
def test_sixteen_bit_masks_keep_their_ids(tmp_path: Path, name: str) -> None:
    ids = np.array([[0, 255, 256], [1000, 32768, 65535]], dtype=np.uint16)
    Image.fromarray(ids).save(tmp_path / name)
    mask = read_mask(tmp_path / name)
    assert mask.dtype == torch.int32
    assert mask.tolist() == ids.tolist()


def test_thirty_two_bit_masks_keep_their_ids(tmp_path: Path) -> None:
    ids = np.array([[-1, 0, 70000]], dtype=np.int32)
    Image.fromarray(ids).save(tmp_path / "m.tif")
    assert read_mask(tmp_path / "m.tif").tolist() == ids.tolist()


def test_one_bit_masks_are_zero_and_one(tmp_path: Path) -> None:
    ids = np.array([[0, 1, 1], [1, 0, 0]], dtype=bool)
    Image.fromarray(ids).save(tmp_path / "m.png")
    assert read_mask(tmp_path / "m.png").tolist() == [[0, 1, 1], [1, 0, 0]]


@pytest.mark.parametrize("bits", [2, 4])
def test_grey_masks_of_few_bits_are_not_stretched(tmp_path: Path, bits: int) -> None:
    ids = np.arange(2**bits, dtype=np.uint8).reshape(2, -1)
    _grey_png(tmp_path / "m.png", ids, bits)
    assert read_mask(tmp_path / "m.png").tolist() == ids.tolist()


@pytest.mark.parametrize("opened", [False, True], ids=["path", "open file"])
def test_three_channels_of_16_bits_give_the_first_in_full(tmp_path: Path, opened: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 2**16, (5, 7, 3))
    pixels[0, :, 0] = range(16, 23)
    write_deep_colours(tmp_path / "m.png", pixels)
    mask = read_mask(BytesIO((tmp_path / "m.png").read_bytes()) if opened else tmp_path / "m.png")
    assert mask.dtype == torch.int32
    assert np.array_equal(mask.numpy(), pixels[..., 0])


def test_colour_mask_is_refused_with_a_hint(tmp_path: Path) -> None:
    Image.fromarray(_colours()).save(tmp_path / "m.png")
    with pytest.raises(DataError, match=r"m\.png: mask of mode RGB.*convert colours to class ids"):
        read_mask(tmp_path / "m.png")


def test_deep_image_is_refused_rather_than_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.full((2, 2), 1000, dtype=np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(DataError, match=r"deep\.png.*8 bits"):
        read_image(tmp_path / "deep.png")


@pytest.mark.parametrize("read", [read_image, read_mask])
def test_missing_truncated_and_foreign_files_are_named(tmp_path: Path, read: object) -> None:
    assert callable(read)
    with pytest.raises(MissingDataError, match=r"gone\.png"):
        read(tmp_path / "gone.png")
    Image.fromarray(_colours(64, 64)[..., 0]).save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    for name, content in {
        "half.png": whole[: len(whole) // 2],
        "head.png": whole[:20],
        "empty.png": b"",
        "text.png": b"no image at all",
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=name):
            read(tmp_path / name)


def test_truncated_jpeg_is_an_error_not_a_grey_area(tmp_path: Path) -> None:
    Image.fromarray(_colours(64, 64)).save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cut\.jpg"):
        read_image(tmp_path / "cut.jpg")


def test_resized_mask_takes_the_id_under_each_pixel_centre() -> None:
    mask = torch.randint(0, 20, (7, 10), generator=torch.Generator().manual_seed(0))
    for height, width in [(7, 10), (3, 4), (14, 20), (5, 23), (1, 1)]:
        expected = [
            [mask[int((i + 0.5) * 7 / height), int((j + 0.5) * 10 / width)].item() for j in range(width)]
            for i in range(height)
        ]
        assert resize_mask(mask, (height, width)).tolist() == expected


def test_resized_image_averages_what_it_shrinks() -> None:
    stripes = torch.tensor([0.0, 1.0]).repeat(16).expand(3, 8, 32)
    assert resize_image(stripes, (4, 8))[:, :, 1:-1].sub(0.5).abs().max() < 0.05
    assert resize_image(torch.full((3, 5, 5), 77, dtype=torch.uint8), (9, 3)).unique().tolist() == [77]


def test_image_and_mask_stay_in_register() -> None:
    # An object fills the right part of the scene; after any resize, its border lies at the same place in both.
    mask = torch.zeros(40, 60, dtype=torch.long)
    mask[:, 33:] = 1
    image = mask.float().expand(3, -1, -1)
    for size in [(20, 30), (80, 120), (31, 47)]:
        disagree = (resize_image(image, size)[0] > 0.5) != resize_mask(mask, size).bool()
        assert disagree.float().mean() <= 1 / size[1]
