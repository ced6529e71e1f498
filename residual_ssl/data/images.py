"""Image and mask files as tensors: reading and resizing."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from PIL import Image, ImageOps
from torch import Tensor

from residual_ssl.errors import DataError, MissingDataError

# What Pillow raises for files that are cut off, damaged or not images at all.
UNREADABLE = (
    *(OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError),
    *(TypeError, LookupError, AttributeError, OverflowError),  # of damaged tags, in TIFF files above all
)

# What Pillow and the system say of a file, as the kind of fault.
_SAID = {
    "truncated": "truncated",
    "not enough": "truncated",
    "decompression bomb": "too large",
    "permission denied": "permission",
}

_DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L")
# How TIFF files with further bands are coded; the padding of bitmaps has another name.
_OTHER_BANDS = ("RGBX", "RGBXX", "RGBXXX")
_ORIENTATION = 0x0112
_ID_MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")

# Pillow stretches grey levels of 2 and 4 bits to 0 … 255; in a mask they are ids, not grey.
_STRETCH = {"L;2": 85, "L;4": 17}

# Pillow reads three channels of 16 bits as the high bytes alone. Read as if their order were the other one, they give
# the low bytes.
_DEEP_COLOUR, _SWAPPED = "RGB;16B", "RGB;16L"


def read_image(file: str | Path | BinaryIO, name: str | None = None) -> Tensor:
    """An image file as uint8 RGB ``(3, H, W)``, turned upright as its EXIF orientation says.

    Grey and palette images are expanded to RGB; an alpha channel is dropped. What would be lost in silence, more than
    8 bits a channel, a fourth band that is no alpha, further pages, is refused.

    Args:
        file: a path, or the open file.
        name: of the file in messages; None for its path.

    Raises:
        MissingDataError: no such file.
        DataError: a file that is truncated or no image; one with more than 8 bits per channel, other bands than RGB and
            alpha, or several pages.
    """
    try:
        with Image.open(file) as image:
            _check_content(image, str(name or file))
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except DataError:
        raise
    except UNREADABLE as error:
        raise unreadable(name or str(file), "image", error) from error
    return rearrange(torch.from_numpy(np.array(upright)), "h w c -> c h w").contiguous()


def _check_content(image: Image.Image, name: str) -> None:
    """Refuse what conversion to 8-bit RGB would drop without a word."""
    coding = coding_of(image)
    if image.mode in _DEEP_MODES or ";16" in coding or ";12" in coding:
        deep = image.mode if image.mode in _DEEP_MODES else coding
        said = (
            f"{name}: image of mode {deep}, expected 8 bits per channel; set dataset.channels to learn from it as it is"
        )
        raise DataError(said, "bit depth")
    if coding in _OTHER_BANDS:
        raise DataError(
            f"{name}: image with a fourth band that is no alpha, expected RGB; set dataset.channels", "bands"
        )
    pages = getattr(image, "n_frames", 1)
    if pages > 1:
        said = f"{name}: file with {pages} pages, expected one image; save the pages as files of their own"
        raise DataError(said, "pages")


def exif_orientation(file: str | Path | BinaryIO) -> int:
    """The EXIF orientation of an image file, 1 to 8; 1 where it has none: upright as stored."""
    try:
        with Image.open(file) as image:
            orientation = image.getexif().get(_ORIENTATION, 1)
    except UNREADABLE:
        return 1
    return orientation if orientation in range(1, 9) else 1


def read_mask(file: str | Path | BinaryIO, name: str | None = None) -> Tensor:
    """A mask file as the raw ids in it, ``(H, W)``: uint8, or int32 for files with more than 8 bits.

    A palette image gives its indices, never its colours. Three channels of 16 bits give the first one: SYNTHIA's class
    ids, beside those of instances.

    Args:
        file: a path, or the open file.
        name: of the file in messages; None for its path.

    Raises:
        MissingDataError: no such file.
        DataError: a file that is truncated or no image, or one that holds colours instead of ids.
    """
    try:
        with Image.open(file) as mask:
            coding = coding_of(mask)
            if (pages := getattr(mask, "n_frames", 1)) > 1:
                said = f"{name or file}: file with {pages} pages, expected one mask; save the pages apart"
                raise DataError(said, "pages")
            if (turned := mask.getexif().get(_ORIENTATION, 1)) != 1:
                said = f"{name or file}: mask with the EXIF orientation {turned}, expected none; store it as its image"
                raise DataError(said, "orientation")
            if coding == _DEEP_COLOUR:
                return _first_of_deep(mask, file)
            if mask.mode not in _ID_MODES:
                raise DataError(
                    f"{name or file}: mask of mode {mask.mode}, expected one channel of ids (L, P, I or 1); convert "
                    "colours to class ids first, or point the masks folder at the id files",
                    "mode",
                )
            ids = np.array(mask)
    except DataError:
        raise
    except UNREADABLE as error:
        raise unreadable(name or str(file), "mask", error) from error
    ids = ids // _STRETCH.get(coding, 1) if ids.dtype == np.uint8 else ids
    return torch.from_numpy(ids.astype(np.uint8 if ids.dtype.itemsize == 1 else np.int32))


def coding_of(image: Image.Image) -> str:
    """How the file codes a pixel, as Pillow names it; of an image that is not loaded yet."""
    coding = image.tile[0].args if image.tile else None  # type: ignore[attr-defined]
    return str(coding[0] if isinstance(coding, tuple) else coding)


def _first_of_deep(image: Image.Image, file: str | Path | BinaryIO) -> Tensor:
    """The first of three channels of 16 bits, int32 ``(H, W)``."""
    high = np.array(image)[..., 0].astype(np.int32)
    if not isinstance(file, str | Path):
        file.seek(0)
    with Image.open(file) as again:
        again.tile = [(*tile[:3], _SWAPPED) for tile in again.tile]  # type: ignore[misc]
        low = np.array(again)[..., 0]
    return torch.from_numpy((high << 8) + low)


def resize_image(image: Tensor, size: tuple[int, int]) -> Tensor:
    """``(C, H, W)``, uint8 or floating, resized to ``size`` (height, width): bilinear, antialiased when it shrinks."""
    if tuple(image.shape[1:]) == tuple(size):
        return image
    if tuple(size) == (1, 1) and image.dtype == torch.uint8:  # torch's own case for bytes fails on a single pixel
        whole = F.interpolate(image[None].float(), size, mode="bilinear", antialias=True)[0]
        return whole.round().to(torch.uint8)
    return F.interpolate(image[None], size, mode="bilinear", antialias=True)[0]


def resize_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """``(H, W)`` of any dtype resized to ``size`` (height, width): each pixel takes the id under its centre.

    Aligned with :func:`resize_image`, so that mask and image stay in register.

    Example:
        >>> resize_mask(torch.tensor([[1, 2, 3, 4]]), (2, 2))
        tensor([[2, 4],
                [2, 4]])
    """
    (old_height, old_width), (height, width) = mask.shape, size
    rows = (2 * torch.arange(height) + 1) * old_height // (2 * height)
    columns = (2 * torch.arange(width) + 1) * old_width // (2 * width)
    return mask[rows][:, columns]


def unreadable(path: str, what: str, error: Exception) -> DataError | MissingDataError:
    """The fault of a file, as the library says it, of what Pillow, another reader or the system said."""
    if isinstance(error, FileNotFoundError):
        return MissingDataError(f"{path}: no such {what} file")
    said = str(error) or type(error).__name__
    kind = next((kind for word, kind in _SAID.items() if word in said.lower()), "unreadable")
    return DataError(f"{path}: the {what} cannot be read, {said}; restore or remove the file", kind)
