"""Predictions of rasters that lie somewhere on earth, as GeoTIFF files that lie there too."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from residual_ssl.data.channels import TIFF_SUFFIXES
from residual_ssl.data.rasters import has_rasterio, opened_raster
from residual_ssl.runtime.files import atomic_file

Georeference = dict[str, Any]


def georeference_of(file: Path) -> Georeference | None:
    """Coordinate system and place of a TIFF file; None where it has none, or rasterio is not installed."""
    if file.suffix.lower() not in TIFF_SUFFIXES or not has_rasterio():
        return None
    with opened_raster(file, str(file)) as raster:
        if raster.crs is None and raster.transform.is_identity:
            return None
        return {"crs": raster.crs, "transform": raster.transform}


def write_georeferenced(path: Path, values: Tensor, place: Georeference, palette: Any = None) -> None:
    """Write a map ``(H, W)`` as a GeoTIFF: class ids as whole numbers with their colours, others as float32.

    Args:
        path: of the file; written whole or not at all.
        values: class ids or weights.
        place: as of :func:`georeference_of`, of the raster that they were predicted of.
        palette: colours of the classes, for ids of one byte.
    """
    import rasterio

    pixels = values.cpu().numpy()
    kind = np.float32 if values.is_floating_point() else np.uint8 if int(values.max()) < 256 else np.uint16
    height, width = pixels.shape
    profile = {"driver": "GTiff", "height": height, "width": width, "count": 1, "dtype": np.dtype(kind).name}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.MemoryFile() as memory:
            with memory.open(**profile, **place, compress="deflate", bigtiff="if_safer") as raster:
                raster.write(pixels.astype(kind), 1)
                if palette is not None and kind is np.uint8:
                    raster.write_colormap(1, {number: (*colour, 255) for number, colour in enumerate(palette)})
            with atomic_file(path, "prediction") as file:
                file.write(memory.read())
