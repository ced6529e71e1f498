"""Which image and mask files a dataset folder holds, and which mask belongs to which image."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from residual_ssl.data.channels import VOLUME_SUFFIXES
from residual_ssl.data.splits.lists import ListEntry, few
from residual_ssl.data.splits.spellings import composed, spellings
from residual_ssl.errors import DataError, MissingDataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", *VOLUME_SUFFIXES)
MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", *VOLUME_SUFFIXES)  # without loss: a JPEG invents ids

Pairs = dict[Path, Path | None]


def image_files(root: Path, folder: str, suffixes: tuple[str, ...]) -> dict[Path, str]:
    """Files of ``root/folder`` with one of the suffixes (any case), sorted, each with its key; no hidden files.

    A file's key is its name without suffix, in Unicode's composed form. ``folder`` may hold ``*`` for any part of a
    name; then the files of all folders that match are taken together, and what ``*`` stands for begins the key:
    ``train/*`` has ``a/0`` and ``b/0`` for ``train/a/0.png`` and ``train/b/0.png``.

    Raises:
        MissingDataError: no such folder; the message lists the folders that are there.
        DataError: no such file in the folder.
    """
    pattern = Path(os.path.normpath(root / folder))
    places = [path for path in sorted(root.glob(folder)) if path.is_dir()] if "*" in folder else [pattern]
    if not any(directory.is_dir() for directory in places):
        there = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
        raise MissingDataError(f"{folder!r} is not a folder in {root}; there are: {', '.join(there) or 'none'}")
    found = {
        directory / name: composed("/".join([*_matched(root, folder, directory), Path(name).stem]))
        for directory in places
        for name in sorted(os.listdir(directory))
        if name.lower().endswith(suffixes) and not name.startswith(".") and (directory / name).is_file()
    }
    if not found:
        jpeg = suffixes == MASK_SUFFIXES and any(root.glob(f"{folder}/*.[jJ][pP]*[gG]"))
        advice = "give another folder"
        if jpeg:
            advice = "JPEG, which is there, changes the ids of a mask; store masks as PNG"
        raise DataError(f"{pattern}: no file ends with {', '.join(suffixes)}; {advice}")
    return found


def _matched(root: Path, pattern: str, directory: Path) -> list[str]:
    """The parts of a folder's path that ``*`` stands for."""
    names, parts = Path(os.path.relpath(directory, root)).parts, Path(os.path.normpath(pattern)).parts
    return [name for name, part in zip(names, parts, strict=False) if "*" in part]


@dataclass(frozen=True)
class FolderPair:
    """The files of an image folder and its mask folder.

    Attributes:
        root: the dataset's folder.
        folders: names of the two folders, relative to ``root``; None where split lists alone say which files there are.
        images, masks: their files with their keys, see :func:`image_files`.
        mask_paths: replacements in an image's path relative to ``root`` that lead to its mask; empty for none.
    """

    root: Path
    folders: tuple[str | None, str | None]
    images: Mapping[Path, str]
    masks: Mapping[Path, str]
    mask_paths: Mapping[str, str]

    @classmethod
    def scan(cls, root: Path, images: str | None, masks: str | None, mask_paths: Mapping[str, str]) -> FolderPair:
        """List the folders that are given; raises as :func:`image_files`.

        A file that is the mask of another one is no image.
        """
        if not root.is_dir():
            raise MissingDataError(f"root: {root} is not a folder; give the dataset's folder")
        found = cls(
            root,
            (images, masks),
            {} if images is None else image_files(root, images, IMAGE_SUFFIXES),
            {} if masks is None else image_files(root, masks, MASK_SUFFIXES),
            mask_paths,
        )
        return replace(found, images=found._without_masks()) if mask_paths else found

    def without(self, left_out: Collection[Path]) -> FolderPair:
        """The files but these images."""
        return replace(self, images={path: key for path, key in self.images.items() if path not in left_out})

    def _without_masks(self) -> dict[Path, str]:
        masks = {self._mask(ListEntry(path.name, None), path) for path in self.images}
        return {path: key for path, key in self.images.items() if path not in masks}

    @cached_property
    def _image_of_key(self) -> dict[str, list[Path]]:
        return _files_of(self.images)

    @cached_property
    def _image_of_name(self) -> dict[str, list[Path]]:
        return _files_of({path: Path(key).name for path, key in self.images.items()})

    @cached_property
    def _mask_of_name(self) -> dict[str, list[Path]]:
        return _files_of({path: Path(key).name for path, key in self.masks.items()})

    @cached_property
    def _mask_of_key(self) -> dict[str, list[Path]]:
        return _files_of(self.masks)

    def all(self, *, masks: bool = True) -> Pairs:
        """Every image with its mask, or None where it has none; ``masks=False`` looks for none."""
        return {path: self._mask(ListEntry(path.name, None), path) if masks else None for path in self.images}

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
                f"{source}: {len(lost)} of {len(entries)} entries match no image file: {few(lost)}; expected paths "
                f"relative to {self.root}, or stems of the files in the images folder, {self.folders[0]!r}"
            )
        return {path: self._mask(entry, path) if masks else None for entry, path in found.items() if path is not None}

    def _image(self, entry: str) -> Path | None:
        found = _existing(entry, self.root, self.root / (self.folders[0] or "."))
        return found or _only(self._image_of_key, self._image_of_name, entry, "images")

    def _mask(self, entry: ListEntry, image: Path) -> Path | None:
        if self.mask_paths:
            before = Path(os.path.relpath(image, self.root)).as_posix()
            name = replaced(before, self.mask_paths)
            return None if name == before else _existing(name, self.root)
        if entry.mask is not None:
            return _existing(entry.mask, self.root, self.root / (self.folders[1] or "."))
        key = self.images.get(image, image.stem)
        mask = _only(self._mask_of_key, self._mask_of_name, key, "masks")
        if mask == image:
            raise DataError(
                f"{image}: would be its own mask, as images and masks lie in one folder; say by mask_paths how the "
                "name of an image becomes that of its mask: {.png: _mask.png}"
            )
        if mask is not None:
            exact = key in self._mask_of_key
            same = self._image_of_key.get(key, []) if exact else self._image_of_name.get(Path(key).name, [])
            if len(same) > 1:
                raise DataError(
                    f"{' and '.join(map(str, same))} have one stem, and {mask} may be the mask of either; name the "
                    "masks in a split list (`image mask` a line), or rename the images"
                )
        return mask


def replaced(text: str, replacements: Mapping[str, str]) -> str:
    """The text with all replacements made at once: what one of them writes, no other changes. Longer ones come first.

    Example:
        >>> replaced("images/0.jpg", {"images/": "masks/", ".jpg": "_mask.png", ".png": "_mask.png"})
        'masks/0_mask.png'
    """
    pattern = "|".join(re.escape(old) for old in sorted(replacements, key=len, reverse=True))
    return re.sub(pattern, lambda found: replacements[found.group()], text)


def _only(by_key: Mapping[str, list[Path]], by_name: Mapping[str, list[Path]], key: str, kind: str) -> Path | None:
    """The file of a key, or of its bare name where that belongs to one file alone; None where there is none."""
    key = composed(key)
    found = by_key.get(key) or by_name.get(Path(key).name, [])
    if len(found) > 1:
        raise DataError(f"{kind}: {key!r} may be {few([str(path) for path in found])}; give paths in a split list")
    return found[0] if found else None


def _files_of(files: Mapping[Path, str]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path, key in files.items():
        found.setdefault(key, []).append(path)
    return found


def _existing(name: str, *places: Path) -> Path | None:
    # Normalised, so that one file has one name however a list spells it.
    for spelling in spellings(name):
        paths = (Path(os.path.normpath(directory / spelling)) for directory in places)
        if found := next((path for path in paths if path.is_file()), None):
            return found
    return None
