"""Images in a folder for each class, as the data sets of domain adaptation come."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from residual_ssl.data.classification.class_ids import class_ids
from residual_ssl.data.classification.classified import ClassifiedSample
from residual_ssl.data.reading import PHOTOGRAPHS, ImageReading
from residual_ssl.data.segmentation.listing import IMAGE_SUFFIXES
from residual_ssl.data.splits.lists import ListEntry, few, read_list, read_names
from residual_ssl.errors import DataError, MissingDataError


class ClassFolders:
    """The images of ``root/folder/CLASS/``, as :class:`ClassifiedSamples`, sorted by path, their name.

    Args:
        root: the data set's folder.
        classes: names of the classes, in the order of their ids. Images of other folders are of none of them.
        folder: of one domain or subset, below ``root``, that holds a folder for each class; None for no samples, as of
            a validation set that does not exist.
        listed: a text file of the images, by their paths below ``root``, one a line, in place of all files. A class is
            found by the folder of the path; an id in a second column, which DomainNet and the common lists of Office
            have, is not read.

        leave_out: a text file of images to leave out, by their paths below ``root``, one a line: as
            ``residual-ssl doctor`` writes it.
        reading: how files become images; whole ones.

    Raises:
        MissingDataError: a folder or a list that is not there.
        ConfigError: classes without a folder.
        DataError: no images, or listed ones that are not there; when a sample is read, an image that cannot.

    Example:
        >>> ClassFolders("/nowhere", ["bike", "mug"], "amazon/images")
        Traceback (most recent call last):
        residual_ssl.errors.MissingDataError: '/nowhere/amazon/images' is not a folder; give the data set's folder ...
    """

    def __init__(
        self,
        root: str | Path,
        classes: Sequence[str],
        folder: str | None = ".",
        *,
        listed: str | Path | None = None,
        leave_out: str | Path | None = None,
        reading: ImageReading = PHOTOGRAPHS,
    ) -> None:
        self._root = Path(root)
        self._reading = reading
        self._names: list[str] = []
        self.labels: tuple[int | None, ...] = ()
        if folder is None:
            return
        directory = Path(os.path.normpath(self._root / folder))
        source = str(directory if listed is None else listed)
        left_out = frozenset() if leave_out is None else read_names(leave_out)
        names = _found(self._root, directory) if listed is None else _listed(self._root, Path(listed), left_out)
        self._names = [name for name in names if name not in left_out]
        found = [Path(name).parent.name for name in self._names]
        self.labels = class_ids(found, classes, sorted(set(found)), source)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int, /) -> ClassifiedSample:
        name = self._names[index]
        return ClassifiedSample(self._reading.image(self._root / name), self.labels[index], name)

    def entry(self, index: int, /) -> ListEntry:
        return ListEntry(self._names[index], None)

    def files(self, index: int, /) -> tuple[Path, Path | None]:
        """The image file of a sample; there is no mask."""
        return self._root / self._names[index], None


def _found(root: Path, directory: Path) -> list[str]:
    """Paths below the root of the images in the folders of a folder."""
    if not directory.is_dir():
        there = sorted(entry.name for entry in root.iterdir() if entry.is_dir()) if root.is_dir() else []
        raise MissingDataError(
            f"{str(directory)!r} is not a folder; give the data set's folder and one in it for each domain; there are: "
            f"{', '.join(there) or 'none'}"
        )
    names = []
    for folder in sorted(entry for entry in directory.iterdir() if entry.is_dir()):
        for name in sorted(os.listdir(folder)):
            if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".") and (folder / name).is_file():
                names.append((folder / name).relative_to(root).as_posix())
    if not names:
        raise DataError(
            f"{directory}: no folder in it has a file that ends with {', '.join(IMAGE_SUFFIXES)}; expected images in a "
            "folder for each class"
        )
    return names


def _listed(root: Path, path: Path, left_out: Collection[str]) -> list[str]:
    names = [entry.image for entry in read_list(path) if entry.image not in left_out]
    lost = [name for name in names if not (root / name).is_file()]
    if lost:
        raise DataError(
            f"{path}: {len(lost)} of {len(names)} entries are not there: {few(lost)}; expected paths below {root}"
        )
    return names
