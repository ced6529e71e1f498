"""Rasters by rasterio and volumes by nibabel, both imported when they are needed: parts of files as arrays."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from residual_ssl.data.images import unreadable
from residual_ssl.errors import DataError, MissingDataError, MissingPackageError

#: Most channels of an image.
MOST_CHANNELS = 16


class Part(NamedTuple):
    """A part of an image file: a page, and a window in it.

    Attributes:
        page: of a TIFF file, or slice of a volume, from 0 on.
        window: top, left, height, width in pixels; None for all of the page.
    """

    page: int = 0
    window: tuple[int, int, int, int] | None = None


def raster_values(path: Path, called: str, part: Part, *, paged: bool) -> np.ndarray:
    """A part of a TIFF file, ``(C, H, W)`` in its own type; float32 with NaN where the file has a value for no data.

    Args:
        path: of the file.
        called: its name in messages.
        part: page and window.
        paged: whether a page was asked for.

    Raises:
        MissingDataError, DataError, MissingPackageError: no file, damaged, several pages or no such part, no rasterio.
    """
    with opened_raster(path, called) as raster:
        pages = max(1, len(raster.subdatasets))
    if pages > 1 and not paged:
        raise several_pages(called, pages)
    if not 0 <= part.page < pages:
        raise DataError(f"{called}: has {pages} pages, no page {part.page}", "pages")
    with opened_raster(path, called, part.page if pages > 1 else None) as raster:
        if part.window is not None:
            _check_window(part.window, (raster.height, raster.width), called)
        if raster.count > MOST_CHANNELS + 1:
            raise DataError(f"{called}: image of {raster.count} channels, expected 1 to {MOST_CHANNELS}", "channels")
        try:
            window = None if part.window is None else _rasterio().windows.Window(*_across(part.window))
            values: np.ndarray = raster.read(window=window)
        except Exception as error:  # of GDAL, by way of rasterio
            raise unreadable(called, "image", error) from error
        if np.iscomplexobj(values):
            raise DataError(f"{called}: image of complex numbers, expected real ones; store magnitude and phase")
        if raster.nodata is not None:
            values = values.astype(np.float32)
            values[values == np.float32(raster.nodata)] = np.nan
        return values


def _across(window: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    top, left, height, width = window
    return left, top, width, height


def opened_raster(path: Path, called: str, page: int | None = None) -> AbstractContextManager[Any]:
    """A TIFF file as rasterio opens it, or one of its pages."""
    rasterio = _rasterio(called)
    source = str(path) if page is None else f"GTIFF_DIR:{page + 1}:{path}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            return rasterio.open(source, driver="GTiff")  # type: ignore[no-any-return]  # no other format of GDAL's
    except Exception as error:
        fault: Exception = error if path.exists() else FileNotFoundError()
        raise unreadable(called, "image", fault) from error


def has_rasterio() -> bool:
    """Whether rasterio is installed."""
    return importlib.util.find_spec("rasterio") is not None


def _rasterio(called: str = "") -> Any:
    try:
        return importlib.import_module("rasterio")
    except ImportError as error:
        raise MissingPackageError(
            f"{called}: a TIFF file with these channels, or windows of one, needs rasterio; install the extra: "
            "pip install 'residual-ssl[geotiff]'"
        ) from error


def volume_values(path: Path, called: str, page: int, *, sliced: bool) -> np.ndarray:
    """A slice of a volume along its last axis, float32 ``(1, H, W)``; raises as :func:`raster_values`."""
    volume = opened_volume(path, called)
    if volume.shape[2] > 1 and not sliced:
        raise several_pages(called, volume.shape[2])
    if not 0 <= page < volume.shape[2]:
        raise DataError(f"{called}: has {volume.shape[2]} slices, no slice {page}", "pages")
    try:
        return np.asarray(volume.dataobj[:, :, page], np.float32)[None]
    except Exception as error:  # damaged files make nibabel raise of many kinds
        raise unreadable(called, "image", error) from error


def opened_volume(path: Path, called: str) -> Any:
    """A volume of three axes as nibabel opens it, without its values."""
    try:
        nibabel: Any = importlib.import_module("nibabel")
    except ImportError as error:
        raise MissingPackageError(
            f"{called}: a volume needs nibabel; install the extra: pip install 'residual-ssl[volumes]'"
        ) from error
    if not path.is_file():
        raise MissingDataError(f"{called}: no such image file")
    try:
        volume = nibabel.load(path)
    except Exception as error:
        raise unreadable(called, "image", error) from error
    if len(volume.shape) != 3:
        raise DataError(f"{called}: volume of shape {tuple(volume.shape)}, expected three axes", "channels")
    return volume


def cut(values: np.ndarray, window: tuple[int, int, int, int] | None, called: str) -> np.ndarray:
    """A window of an image ``(C, H, W)``; all of it for None."""
    if window is None:
        return values
    _check_window(window, values.shape[1:], called)
    top, left, height, width = window
    return values[:, top : top + height, left : left + width]


def _check_window(window: tuple[int, int, int, int], size: tuple[int, ...], called: str) -> None:
    top, left, height, width = window
    if min(top, left) < 0 or min(height, width) < 1 or top + height > size[0] or left + width > size[1]:
        raise DataError(f"{called}: is {size[0]}×{size[1]} (height×width), no window {window}", "size")


def several_pages(called: str, pages: int) -> DataError:
    """The fault of a file of several pages of which none was asked for."""
    return DataError(
        f"{called}: file with {pages} pages, expected one image; set dataset.slices=true to take each page, or slice, "
        "as an image, or save them as files of their own",
        "pages",
    )
