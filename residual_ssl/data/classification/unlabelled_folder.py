"""Images in a folder, of which nobody knows the class."""

from __future__ import annotations

import os
from pathlib import Path

from residual_ssl.data.classification.classified import ClassifiedSample
from residual_ssl.data.reading import PHOTOGRAPHS, ImageReading
from residual_ssl.data.segmentation.listing import IMAGE_SUFFIXES
from residual_ssl.data.splits.lists import ListEntry, read_names
from residual_ssl.errors import DataError, MissingDataError


class UnlabelledFolder:
    """The images of a folder and of all folders in it, as :class:`ClassifiedSamples` without a class, sorted by path.

    Args:
        root: the data set's folder.
        folder: below ``root``; None for no images.
        leave_out: a text file of images to leave out, by their paths below ``root``, one a line: as
            ``residual-ssl doctor`` writes it.
        reading: how files become images; whole ones.

    Raises:
        MissingDataError: a folder or a list that is not there.
        DataError: no image in the folder; when a sample is read, an image that cannot.

    Example:
        >>> len(UnlabelledFolder("/nowhere", None))
        0
    """

    def __init__(
        self,
        root: str | Path,
        folder: str | None,
        *,
        leave_out: str | Path | None = None,
        reading: ImageReading = PHOTOGRAPHS,
    ) -> None:
        self._root = Path(root)
        self._reading = reading
        left_out = frozenset() if leave_out is None else read_names(leave_out)
        names = [] if folder is None else _found(self._root, folder)
        self._names = [name for name in names if name not in left_out]
        self.labels: tuple[int | None, ...] = (None,) * len(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int, /) -> ClassifiedSample:
        name = self._names[index]
        return ClassifiedSample(self._reading.image(self._root / name), None, name)

    def entry(self, index: int, /) -> ListEntry:
        return ListEntry(self._names[index], None)

    def files(self, index: int, /) -> tuple[Path, Path | None]:
        """The image file of a sample; there is no mask."""
        return self._root / self._names[index], None


def _found(root: Path, folder: str) -> list[str]:
    directory = Path(os.path.normpath(root / folder))
    if not directory.is_dir():
        raise MissingDataError(f"unlabelled_images: {directory} is not a folder")
    names = [
        Path(os.path.relpath(os.path.join(place, name), root)).as_posix()
        for place, _, files in os.walk(directory)
        for name in files
        if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")
    ]
    if not names:
        raise DataError(f"{directory}: no file in it ends with {', '.join(IMAGE_SUFFIXES)}; expected unlabelled images")
    return sorted(names)
