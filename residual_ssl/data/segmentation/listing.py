"""Which image and mask files a dataset folder holds, and which mask belongs to which image."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from residual_ssl.data.splits.lists import ListEntry, some
from residual_ssl.errors import DataError, MissingDataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff")  # without loss: a JPEG invents ids

Pairs = dict[Path, Path | None]


def files_by_stem(root: Path, folder: str, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Files of ``root/folder`` with one of the suffixes (any case), by stem, sorted; hidden files are left out.

    ``folder`` may hold ``*`` for any part of a name; then the files of all folders that match are taken together.

    Raises:
        MissingDataError: no such folder; the message lists the folders that are there.
        DataError: no such file in the folder, or two with one stem.
    """
    pattern = Path(os.path.normpath(root / folder))
    places = [path for path in sorted(root.glob(folder)) if path.is_dir()] if "*" in folder else [pattern]
    if not any(place.is_dir() for place in places):
        there = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
        raise MissingDataError(f"{folder!r} is not a folder in {root}; there are: {', '.join(there) or 'none'}")
    paths = [place / name for place in places for name in sorted(os.listdir(place))]
    found: dict[str, Path] = {}
    for path in paths:
        if path.name.lower().endswith(suffixes) and not path.name.startswith("."):
            if path.stem in found:
                raise DataError(f"{path.parent}: {_both(found[path.stem], path)} have one stem; keep one of them")
            found[path.stem] = path
    if not found:
        raise DataError(f"{pattern}: no file ends with {', '.join(suffixes)}; give another folder")
    return found


def _both(first: Path, second: Path) -> str:
    return f"{first.name if first.parent == second.parent else first} and {second.name}"


@dataclass(frozen=True)
class FolderPair:
    """The files of an image folder and its mask folder.

    Attributes:
        root: the dataset's folder.
        folders: names of the two folders, relative to ``root``; None where split lists alone say which files there are.
        images, masks: their files by stem.
        mask_paths: replacements in an image's path relative to ``root`` that lead to its mask; empty for none.
    """

    root: Path
    folders: tuple[str | None, str | None]
    images: Mapping[str, Path]
    masks: Mapping[str, Path]
    mask_paths: Mapping[str, str]

    @classmethod
    def scan(cls, root: Path, images: str | None, masks: str | None, mask_paths: Mapping[str, str]) -> FolderPair:
        """List the folders that are given; raises as :func:`files_by_stem`."""
        if not root.is_dir():
            raise MissingDataError(f"root: {root} is not a folder; give the dataset's folder")
        return cls(
            root,
            (images, masks),
            {} if images is None else files_by_stem(root, images, IMAGE_SUFFIXES),
            {} if masks is None else files_by_stem(root, masks, MASK_SUFFIXES),
            mask_paths,
        )

    def all(self, *, masks: bool = True) -> Pairs:
        """Every image with its mask, or None where it has none; ``masks=False`` looks for none."""
        return {path: self._mask(ListEntry(path.name, None), path) if masks else None for path in self.images.values()}

    def listed(self, entries: list[ListEntry], source: str, *, masks: bool = True) -> Pairs:
        """The images of a split list with their masks; ``masks=False`` looks for none.

        An entry is a path relative to the root or to the image folder, or the stem of a file in the image folder. A
        mask column is a path relative to the root or to the mask folder; without it, the mask is the file of the
        image's stem. Where ``mask_paths`` are given, they alone say where masks lie.

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
        return {path: self._mask(entry, path) if masks else None for entry, path in found.items() if path is not None}

    def _image(self, entry: str) -> Path | None:
        return _existing(entry, self.root, self.root / (self.folders[0] or ".")) or self.images.get(entry)

    def _mask(self, entry: ListEntry, image: Path) -> Path | None:
        if self.mask_paths:
            name = before = Path(os.path.relpath(image, self.root)).as_posix()
            for old, new in self.mask_paths.items():
                name = name.replace(old, new)
            return None if name == before else _existing(name, self.root)
        if entry.mask is None:
            return self.masks.get(image.stem)
        return _existing(entry.mask, self.root, self.root / (self.folders[1] or "."))


def _existing(name: str, *places: Path) -> Path | None:
    # Normalised, so that one file has one name however a list spells it.
    paths = (Path(os.path.normpath(place / name)) for place in places)
    return next((path for path in paths if path.is_file()), None)
