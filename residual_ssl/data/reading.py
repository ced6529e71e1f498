"""How the image files of a data set are read: their channels, whole or in parts."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from residual_ssl.data.channels import layout_of, read_channels, read_mask_part
from residual_ssl.data.images import read_image, read_mask
from residual_ssl.data.rasters import MOST_CHANNELS, Part
from residual_ssl.errors import ConfigError, DataError


class ImageReading:
    """What becomes of an image file: one image or several, of which channels.

    Args:
        channels: of the files, 1 … 16, of any depth; None for RGB of 8 bits, as photographs are: grey ones are
            expanded, an alpha channel is dropped, what would be lost in silence is refused.
        tile: side in pixels of the windows into which files are divided, read one by one; None for whole images.
        overlap: pixels that neighbouring windows share.
        slices: each page of a TIFF file, and each slice of a volume (the last axis of NIfTI), is an image.

    Raises:
        ConfigError: a choice out of its range.

    Example:
        >>> ImageReading(channels=4, tile=512, overlap=64)
        ImageReading(channels=4, tile=512, overlap=64, slices=False)
    """

    def __init__(
        self, channels: int | None = None, tile: int | None = None, overlap: int = 0, slices: bool = False
    ) -> None:
        if channels is not None and not 1 <= channels <= MOST_CHANNELS:
            raise ConfigError(f"channels: got {channels}, expected 1 to {MOST_CHANNELS}, or null for RGB of 8 bits")
        if tile is not None and tile < 1:
            raise ConfigError(f"tile: got {tile}, expected a side ≥ 1 in pixels, or null for whole images")
        if not 0 <= overlap < (tile or 1):
            raise ConfigError(f"overlap: got {overlap} with tile {tile}, expected 0 to one less than the tile")
        self.channels = channels
        self.tile = tile
        self.overlap = overlap
        self.slices = slices

    def parts(self, file: Path) -> list[Part | None]:
        """The parts of a file that are images of their own, by its header; one, None, where that is the whole file.

        Windows start at multiples of the tile less the overlap, the last of a row or column ends with the image, and a
        side that is smaller than the tile is taken whole.

        Raises:
            MissingDataError, DataError, MissingPackageError: as :func:`read_channels`; several pages that nobody asked
                for.
        """
        if self.tile is None and not self.slices:
            return [None]
        layout = layout_of(file)
        pages = range(layout.pages) if self.slices else range(1)
        if self.tile is None:
            return [Part(page) for page in pages]
        height, width = min(self.tile, layout.height), min(self.tile, layout.width)
        step = self.tile - self.overlap
        return [
            Part(page, (top, left, height, width))
            for page in pages
            for top in _starts(layout.height, height, step)
            for left in _starts(layout.width, width, step)
        ]

    def image(self, file: str | Path, part: Part | None = None) -> Tensor:
        """An image ``(C, H, W)``: uint8, or float32 with the values of the file.

        Raises:
            MissingDataError, DataError, MissingPackageError: as :func:`read_channels` and :func:`read_image`.
        """
        if self.channels is not None:
            return read_channels(file, self.channels, part=part)
        if part is None:
            return read_image(file)
        values = read_channels(file, part=part)
        if values.dtype != torch.uint8 or len(values) > 4:
            found = f"{len(values)} channels of {'8 bits' if values.dtype == torch.uint8 else 'more than 8 bits'}"
            raise DataError(f"{file}: image of {found}, expected RGB of 8 bits; set dataset.channels", "bit depth")
        return values[:3] if len(values) > 2 else values[:1].repeat(3, 1, 1)

    def mask(self, file: Path, part: Part | None = None) -> Tensor:
        """Raw ids ``(H, W)`` of a mask; raises as :func:`read_mask` and :func:`read_mask_part`."""
        return read_mask(file) if part is None else read_mask_part(file, part)

    def __repr__(self) -> str:
        names = ("channels", "tile", "overlap", "slices")
        return f"ImageReading({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"


def part_name(name: str, part: Part | None) -> str:
    """A name for a part of a file of this name.

    Example:
        >>> part_name("a/north.tif", Part(0, (512, 0, 256, 256))), part_name("scan.nii.gz", Part(7))
        ('a/north.tif@512+0', 'scan.nii.gz@7')
    """
    if part is None:
        return name
    page = str(part.page) if part.window is None or part.page else ""
    where = "" if part.window is None else f"{part.window[0]}+{part.window[1]}"
    return "@".join(filter(None, [name, page, where]))


def _starts(side: int, window: int, step: int) -> list[int]:
    return [*range(0, side - window, step), side - window]


#: As photographs are read.
PHOTOGRAPHS = ImageReading()
