"""Samples out of image files and mask files, read when asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from residual_ssl.data.images import exif_orientation, read_image, read_mask
from residual_ssl.data.samples import Sample, check_same_size, check_upright
from residual_ssl.data.segmentation.mask_colours import MaskColours
from residual_ssl.data.spec import DatasetSpec
from residual_ssl.data.splits.lists import ListEntry


class FolderSamples:
    """Image files with their masks, read when asked for.

    Args:
        pairs: image file → mask file, or None.
        spec: gives the masks' ids their meaning.
        root: names of samples are relative to it.
        colours: meaning of the colours in masks; None where masks hold ids.
        outside: as of :meth:`DatasetSpec.encode`.

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
    ) -> None:
        self._pairs = tuple(pairs.items())
        self._spec = spec
        self._root = root
        self._colours = colours
        self._outside = outside

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int, /) -> Sample:
        image_path, mask_path = self._pairs[index]
        image, mask = read_image(image_path), self.mask(index)
        check_same_size(image, mask, str(image_path), str(mask_path))
        if mask is not None:
            check_upright(mask, exif_orientation(image_path), str(image_path), str(mask_path))
        return Sample(image, mask, self._name(image_path))

    def mask(self, index: int) -> Tensor | None:
        """The class ids of a sample, without reading its image; None where it has none."""
        path = self._pairs[index][1]
        if path is None:
            return None
        if self._colours is not None:
            return self._colours.read(path)
        return self._spec.encode(read_mask(path), str(path), outside=self._outside)

    def files(self, index: int) -> tuple[Path, Path | None]:
        """The image file of a sample and its mask file, if it has one."""
        return self._pairs[index]

    def entry(self, index: int) -> ListEntry:
        """The line of a sample in a split list: paths relative to the root."""
        image, mask = self._pairs[index]
        return ListEntry(self._name(image), None if mask is None else self._name(mask))

    def _name(self, path: Path) -> str:
        return Path(os.path.relpath(path, self._root)).as_posix()
