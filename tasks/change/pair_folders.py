"""Pairs of images with masks of what changed, from folders: LEVIR-CD, WHU-CD and alike."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from residual_ssl.data import DatasetSpec, ImageFolders, Sample, read_image
from residual_ssl.data.segmentation.folder_samples import FolderSamples
from residual_ssl.data.splits.lists import ListEntry, few
from residual_ssl.errors import DataError, MissingDataError


class PairFolders:
    """Folders A, B and label as a :class:`~residual_ssl.data.SegmentationSource` whose images are pairs.

    The first images of all pairs and their masks are those of an :class:`~residual_ssl.data.ImageFolders`; the second
    one lies where the path of the first leads.

    Args:
        root: the dataset's folder.
        second: ``{part of the path of A: what stands there in that of B}``, as ``{"A/": "B/"}``.
        spec, train, validation, labelled, folders: as of :class:`~residual_ssl.data.ImageFolders`, where ``images`` are
            A.

    Attributes ``spec``, ``labelled``, ``unlabelled``, ``validation``: samples of pairs, uint8 ``(6, H, W)``.

    Raises:
        ConfigError, DataError, MissingDataError: as of ``ImageFolders``; a pair without its second image.
    """

    def __init__(
        self,
        root: str | Path,
        spec: DatasetSpec,
        train: Mapping[str, str | None],
        validation: Mapping[str, str | None] | None,
        labelled: int | str | Path | None,
        second: Mapping[str, str],
        **folders: Any,
    ) -> None:
        found = ImageFolders(root, spec, train, validation, labelled, **folders)
        self.spec = spec
        self.labelled, self.unlabelled, self.validation = (
            PairSamples(samples, found.root, second) for samples in (found.labelled, found.unlabelled, found.validation)
        )


class PairSamples:
    """Samples whose image is a pair, read when asked for.

    Args:
        samples: of the first images.
        root: folder that ``second`` looks below.
        second: as of :class:`PairFolders`.
    """

    def __init__(self, samples: FolderSamples, root: Path, second: Mapping[str, str]) -> None:
        self._samples = samples
        firsts = [samples.files(i)[0] for i in range(len(samples))]
        self._seconds = [root / replaced_once(os.path.relpath(first, root), second) for first in firsts]
        bare = [str(path) for path in self._seconds if not path.is_file()]
        if bare:
            raise MissingDataError(
                f"{len(bare)} of {len(firsts)} pairs have no second image: {few(bare)}; second says where it lies, "
                f"now {dict(second)}"
            )

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int, /) -> Sample:
        sample = self._samples[index]
        return sample._replace(image=_joined(sample.image, self._seconds[index], sample.name))

    def mask(self, index: int, /) -> Tensor | None:
        """Where the pair changed, without reading its images."""
        return self._samples.mask(index)

    def entry(self, index: int, /) -> ListEntry:
        """The line of a pair in a split list: its first image."""
        return self._samples.entry(index)

    def files(self, index: int, /) -> tuple[Path, Path | None]:
        """The first image file of a pair and its mask file."""
        return self._samples.files(index)


def read_pair(path: Path, second: Mapping[str, str]) -> Tensor:
    """A pair, uint8 ``(6, H, W)``, by the file of its first image.

    Raises:
        DataError, MissingDataError: a path in which none of the parts of ``second`` stands; images that cannot be read,
            of two sizes, or not there.
    """
    return _joined(read_image(path), Path(replaced_once(os.path.abspath(path), second)), str(path))


def replaced_once(path: str, parts: Mapping[str, str]) -> str:
    """A path with the last occurrence of each part replaced.

    Raises:
        DataError: a path without any of them.

    Example:
        >>> replaced_once("/data/A/train/A/1.png", {"A/": "B/"})
        '/data/A/train/B/1.png'
    """
    there = Path(path).as_posix()
    for before, after in parts.items():
        head, found, tail = there.rpartition(before)
        there = f"{head}{after}{tail}" if found else there
    if there == Path(path).as_posix():
        raise DataError(
            f"{path}: is not the first image of a pair, as nothing of {', '.join(parts)} stands in its path; give the "
            "images A, or set dataset.second"
        )
    return there


def _joined(image: Tensor, second: Path, name: str) -> Tensor:
    other = read_image(second)
    if other.shape != image.shape:
        sizes = [f"{shape[2]}×{shape[1]}" for shape in (image.shape, other.shape)]
        raise DataError(f"{name} is {sizes[0]} and its second image {second} {sizes[1]}; expected one size", "size")
    return torch.cat([image, other])
