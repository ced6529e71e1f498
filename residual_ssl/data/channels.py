"""Image files with the channels and the depth that they have: 8 or 16 bits, floats, 1 to 16 channels, parts of rasters.

Pillow reads what it keeps whole. TIFF files with other channels, with a value for "no data" or of several pages are
read by rasterio (the extra ``geotiff``), volumes in NIfTI files by nibabel (the extra ``volumes``); both come late.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from einops import rearrange
from PIL import Image, ImageOps
from torch import Tensor

from residual_ssl.data.images import UNREADABLE, coding_of, read_mask, unreadable
from residual_ssl.data.rasters import (
    MOST_CHANNELS,
    Part,
    cut,
    has_rasterio,
    opened_raster,
    opened_volume,
    raster_values,
    several_pages,
    volume_values,
)
from residual_ssl.errors import DataError

TIFF_SUFFIXES = (".tif", ".tiff")
VOLUME_SUFFIXES = (".nii", ".nii.gz")

_NO_DATA_TAG = 42113  # of GDAL
_DEEP_GREY = ("I", "F", "I;16", "I;16B", "I;16L")
_DEEP_COLOURS = {"RGB;16B": ("RGB;16L", 3), "RGBA;16B": ("RGBA;16L", 3)}  # what gives the low bytes; without alpha


class Layout(NamedTuple):
    """What the header of an image file says: pages, channels, height, width, and whether it is RGB of 8 bits."""

    pages: int
    channels: int
    height: int
    width: int
    plain: bool


def read_channels(
    file: str | Path | BinaryIO, channels: int | None = None, name: str | None = None, part: Part | None = None
) -> Tensor:
    """An image file, or a part of one, as its own values.

    Args:
        file: a path, or the open file.
        channels: how many it has to have; None for any number up to 16. An alpha channel beyond them is dropped.
        name: of the file in messages; None for its path.
        part: what of it; None for the whole of a file of one page.

    Returns:
        ``(C, H, W)``: uint8 of a file of 8 bits, else float32 with the values of the file, not finite where it holds
        none. A photograph is turned upright as its EXIF orientation says.

    Raises:
        MissingDataError: no such file.
        DataError: a file that cannot be read, of another number of channels, of several pages where no part is asked
            for, or a part that lies outside.
        MissingPackageError: a file that needs rasterio or nibabel, which are not installed.
    """
    called = str(name or file)
    wanted = part or Part()
    if isinstance(file, str | Path) and is_volume(file):
        values = volume_values(Path(file), called, wanted.page, sliced=part is not None)
        values = cut(values, wanted.window, called)
    elif isinstance(file, str | Path) and _needs_rasterio(Path(file), called, windowed=wanted.window is not None):
        values = raster_values(Path(file), called, wanted, paged=part is not None)
    else:
        values = cut(_of_pillow(file, called, wanted.page, paged=part is not None), wanted.window, called)
    values = _without_alpha(values, channels)
    if not 1 <= len(values) <= MOST_CHANNELS or (channels is not None and len(values) != channels):
        expected = f"{channels} (dataset.channels)" if channels is not None else f"1 to {MOST_CHANNELS}"
        raise DataError(f"{called}: image of {len(values)} channels, expected {expected}", "channels")
    return torch.from_numpy(values if values.dtype == np.uint8 else values.astype(np.float32)).contiguous()


def read_mask_part(file: Path, part: Part) -> Tensor:
    """A part of a mask file as the raw ids in it, ``(H, W)``: uint8 or int32, see :func:`read_mask`.

    Raises:
        MissingDataError, DataError, MissingPackageError: as :func:`read_channels`; values that are no whole numbers.
    """
    called = str(file)
    tiff = file.suffix.lower() in TIFF_SUFFIXES
    if not is_volume(file) and not (tiff and (has_rasterio() or layout_of(file).pages > 1)):
        if part.page:
            raise DataError(f"{called}: has 1 page, no page {part.page}", "pages")
        ids = read_mask(file)
        return ids if part.window is None else torch.from_numpy(cut(ids.numpy()[None], part.window, called)[0])
    if is_volume(file):
        values = cut(volume_values(file, called, part.page, sliced=True), part.window, called)
    elif has_rasterio():
        values = raster_values(file, called, part, paged=True)
    else:
        values = cut(_of_pillow(file, called, part.page, paged=True), part.window, called)
    if len(values) != 1 or not (values.dtype.kind in "iu" or np.array_equal(values, np.round(values))):
        raise DataError(
            f"{called}: mask of {len(values)} channels of {values.dtype}, expected one of whole ids", "mode"
        )
    return torch.from_numpy(values[0].astype(np.uint8 if values.dtype == np.uint8 else np.int32))


def layout_of(file: str | Path) -> Layout:
    """What the header of an image file says, without its pixels.

    Raises:
        MissingDataError, DataError, MissingPackageError: as :func:`read_channels`.
    """
    path, called = Path(file), str(file)
    if is_volume(path):
        shape = opened_volume(path, called).shape
        return Layout(shape[2], 1, shape[0], shape[1], False)
    try:
        with Image.open(path) as image:
            coding, pages = coding_of(image), getattr(image, "n_frames", 1)
            deep = image.mode in _DEEP_GREY or ";16" in coding or ";12" in coding
            strange = not deep and image.mode not in _COLOURS and image.mode not in _GREYS
            if not strange and not (deep and path.suffix.lower() in TIFF_SUFFIXES and image.mode not in _DEEP_GREY):
                upright = image.size if image.getexif().get(0x0112, 1) < 5 else image.size[::-1]
                count = 1 if image.mode in (*_DEEP_GREY, *_GREYS) else 3 + coding.count("X")
                return Layout(pages, count, upright[1], upright[0], not deep and "X" not in coding)
    except UNREADABLE as error:
        if path.suffix.lower() not in TIFF_SUFFIXES or isinstance(error, FileNotFoundError):
            raise unreadable(called, "image", error) from error
    with opened_raster(path, called) as raster:
        pages = max(1, len(raster.subdatasets))
    with opened_raster(path, called, 0 if pages > 1 else None) as raster:
        return Layout(pages, raster.count, raster.height, raster.width, False)


def is_volume(file: str | Path) -> bool:
    """Whether a file is a volume by its name.

    Example:
        >>> is_volume("scan.nii.gz"), is_volume("photo.png")
        (True, False)
    """
    return str(file).lower().endswith(VOLUME_SUFFIXES)


_GREYS = ("1", "L", "LA")
_COLOURS = ("P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV")


def _without_alpha(values: np.ndarray, channels: int | None) -> np.ndarray:
    """Grey or colours of 8 bits without their alpha, where that is one channel more than is wanted."""
    if channels is not None and len(values) == channels + 1 and channels in (1, 3) and values.dtype == np.uint8:
        return values[:channels]
    return values


def _of_pillow(file: str | Path | BinaryIO, called: str, page: int, *, paged: bool) -> np.ndarray:
    try:
        with Image.open(file) as image:
            pages = getattr(image, "n_frames", 1)
            if pages > 1 and not paged:
                raise several_pages(called, pages)
            if not 0 <= page < pages:
                raise DataError(f"{called}: has {pages} pages, no page {page}", "pages")
            if page:
                image.seek(page)
            coding = coding_of(image)
            if coding in _DEEP_COLOURS:
                return _deep_colours(image, file, coding)
            if image.mode in _DEEP_GREY:
                return np.array(image)[None]
            upright = ImageOps.exif_transpose(image)
            if upright.mode not in ("L", "LA", "RGB", "RGBA"):
                upright = upright.convert("L" if upright.mode == "1" else "RGB")
            pixels = np.array(upright)
    except DataError:
        raise
    except UNREADABLE as error:
        raise unreadable(called, "image", error) from error
    return pixels[None] if pixels.ndim == 2 else rearrange(pixels, "h w c -> c h w")


def _deep_colours(image: Image.Image, file: str | Path | BinaryIO, coding: str) -> np.ndarray:
    """Colours of 16 bits: Pillow gives the high bytes, and the low ones where it takes the order for the other."""
    swapped, channels = _DEEP_COLOURS[coding]
    high = np.array(image).astype(np.uint16)
    if not isinstance(file, str | Path):
        file.seek(0)
    with Image.open(file) as again:
        again.tile = [(*tile[:3], swapped) for tile in again.tile]  # type: ignore[misc]
        low = np.array(again)
    colours: np.ndarray = rearrange((high << 8) + low, "h w c -> c h w")
    return colours[:channels]


def _needs_rasterio(path: Path, called: str, *, windowed: bool) -> bool:
    """Whether a file is a TIFF that Pillow would not read whole, or of which a window is better read alone."""
    if path.suffix.lower() not in TIFF_SUFFIXES:
        return False
    if windowed and has_rasterio():
        return True
    try:
        with Image.open(path) as image:
            coding = coding_of(image)
            whole = image.mode in ("1", "L", "P", "RGB", "RGBA", *_DEEP_GREY) and "X" not in coding
            deep = image.mode not in _DEEP_GREY and (";16" in coding or ";12" in coding)
            return not whole or deep or _NO_DATA_TAG in image.tag_v2  # type: ignore[attr-defined]
    except FileNotFoundError as error:
        raise unreadable(called, "image", error) from error
    except UNREADABLE:
        return True
