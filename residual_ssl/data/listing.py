"""Which image and mask files a dataset folder holds, and which mask belongs to which image."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from residual_ssl.data.splits import ListEntry, some
from residual_ssl.errors import DataError, MissingDataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff")  # without loss: a JPEG invents ids


def files_by_stem(root: Path, folder: str, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Files of ``root/folder`` with one of the suffixes (any case), by stem, sorted; hidden files are left out.

    Raises:
        MissingDataError: no such folder; the message lists the folders that are there.
        DataError: no such file in the folder, or two with one stem.
    """
    place = Path(os.path.normpath(root / folder))
    if not place.is_dir():
        there = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
        raise MissingDataError(f"{folder!r} is not a folder in {root}; there are: {', '.join(there) or 'none'}")
    names = sorted(n for n in os.listdir(place) if n.lower().endswith(suffixes) and not n.startswith("."))
    if not names:
        raise DataError(f"{place}: no file ends with {', '.join(suffixes)}; give another folder")
    found: dict[str, Path] = {}
    for name in names:
        path = place / name
        if path.stem in found:
            raise DataError(f"{place}: {found[path.stem].name} and {name} have one stem; keep one of them")
        found[path.stem] = path
    return found


@dataclass(frozen=True)
class FolderPair:
    """The files of an image folder and its mask folder.

    Attributes:
        root: the dataset's folder.
        folders: names of the two folders, relative to ``root``; None where split lists alone say which files there are.
        images, masks: their files by stem.
    """

    root: Path
    folders: tuple[str | None, str | None]
    images: Mapping[str, Path]
    masks: Mapping[str, Path]

    @classmethod
    def scan(cls, root: Path, images: str | None, masks: str | None) -> FolderPair:
        """List the folders that are given; raises as :func:`files_by_stem`."""
        if not root.is_dir():
            raise MissingDataError(f"root: {root} is not a folder; give the dataset's folder")
        return cls(
            root,
            (images, masks),
            {} if images is None else files_by_stem(root, images, IMAGE_SUFFIXES),
            {} if masks is None else files_by_stem(root, masks, MASK_SUFFIXES),
        )

    def all(self) -> dict[Path, Path | None]:
        """Every image with its mask, or None where it has none."""
        return {path: self.masks.get(stem) for stem, path in self.images.items()}

    def listed(self, entries: list[ListEntry], source: str) -> dict[Path, Path | None]:
        """The images of a split list with their masks.

        An entry is a path relative to the root or to the image folder, or the stem of a file in the image folder. A
        mask column is a path relative to the root or to the mask folder; without it, the mask is the file of the
        image's stem.

        Raises:
            DataError: entries whose image is not there.
        """
        found = {entry: self._image(entry.image) for entry in entries}
        lost = [entry.image for entry, path in found.items() if path is None]
        if lost:
            raise DataError(
                f"{source}: {len(lost)} of {len(entries)} entries match no image file: {some(lost)}; expected paths "
                f"relative to {self.root}, or stems of the files in the images folder, {self.folders[0]!r}"
            )
        return {path: self._mask(entry, path) for entry, path in found.items() if path is not None}

    def _image(self, entry: str) -> Path | None:
        return _existing(entry, self.root, self.root / (self.folders[0] or ".")) or self.images.get(entry)

    def _mask(self, entry: ListEntry, image: Path) -> Path | None:
        if entry.mask is None:
            return self.masks.get(image.stem)
        return _existing(entry.mask, self.root, self.root / (self.folders[1] or "."))


def _existing(name: str, *places: Path) -> Path | None:
    # Normalised, so that one file has one name however a list spells it.
    paths = (Path(os.path.normpath(place / name)) for place in places)
    return next((path for path in paths if path.is_file()), None)
