"""Samples out of image files and mask files, read when asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from residual_ssl.data.images import exif_orientation
from residual_ssl.data.rasters import Part
from residual_ssl.data.reading import PHOTOGRAPHS, ImageReading, part_name
from residual_ssl.data.samples import Sample, check_same_size, check_upright
from residual_ssl.data.segmentation.mask_colours import MaskColours
from residual_ssl.data.spec import DatasetSpec
from residual_ssl.data.splits.lists import ListEntry
from residual_ssl.errors import ConfigError


class FolderSamples:
    """Image files with their masks, read when asked for.

    Args:
        pairs: image file → mask file, or None.
        spec: gives the masks' ids their meaning.
        root: names of samples are relative to it.
        colours: meaning of the colours in masks; None where masks hold ids.
        outside: as of :meth:`DatasetSpec.encode`.
        reading: how files become images; where it divides them, each part is a sample.

    Raises on reading:
        DataError, MissingDataError: a file that cannot be read, a mask of another size than its image, ids outside the
            specification.
    """

    def __init__(
        self,
        pairs: Mapping[Path, Path | None],
        spec: DatasetSpec,
        root: Path,
        *,
        colours: MaskColours | None = None,
        outside: bool = False,
        reading: ImageReading = PHOTOGRAPHS,
    ) -> None:
        if colours is not None and (reading.tile is not None or reading.slices):
            raise ConfigError("mask_colours: got colours for parts of files, expected masks of ids; convert them first")
        self._pairs: tuple[tuple[Path, Path | None, Part | None], ...] = tuple(
            (image, mask, part) for image, mask in pairs.items() for part in reading.parts(image)
        )
        self._spec = spec
        self._root = root
        self._colours = colours
        self._outside = outside
        self._reading = reading

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int, /) -> Sample:
        image_path, mask_path, part = self._pairs[index]
        image, mask = self.image(index), self.mask(index)
        check_same_size(image, mask, str(image_path), str(mask_path))
        if mask is not None:
            check_upright(mask, exif_orientation(image_path), str(image_path), str(mask_path))
        return Sample(image, mask, part_name(self._name(image_path), part))

    def image(self, index: int) -> Tensor:
        """The image of a sample without its mask."""
        path, _, part = self._pairs[index]
        return self._reading.image(path, part)

    def mask(self, index: int) -> Tensor | None:
        """The class ids of a sample, without reading its image; None where it has none."""
        _, path, part = self._pairs[index]
        if path is None:
            return None
        if self._colours is not None:
            return self._colours.read(path)
        return self._spec.encode(self._reading.mask(path, part), str(path), outside=self._outside)

    def files(self, index: int) -> tuple[Path, Path | None]:
        """The image file of a sample and its mask file, if it has one."""
        return self._pairs[index][:2]

    def entry(self, index: int) -> ListEntry:
        """The line of a sample in a split list: paths relative to the root."""
        image, mask, _ = self._pairs[index]
        return ListEntry(self._name(image), None if mask is None else self._name(mask))

    def _name(self, path: Path) -> str:
        return Path(os.path.relpath(path, self._root)).as_posix()
