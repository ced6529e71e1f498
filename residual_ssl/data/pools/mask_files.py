"""Pseudo-labels that another program has stored as mask files, an open-vocabulary model for instance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from residual_ssl.data.images import read_mask
from residual_ssl.data.samples import StoredSample, check_same_size, files_of
from residual_ssl.data.segmentation.listing import IMAGE_SUFFIXES
from residual_ssl.data.spec import DatasetSpec
from residual_ssl.errors import ConfigError, DataError, MissingDataError


class WithStoredMasks:
    """A source whose unlabelled images have pseudo-labels in mask files, of any program's making.

    The file of the image ``train/a.jpg`` is ``FOLDER/train/a.png``. It holds the ids that the data set's own masks
    would: points that are ignored, or of none of the classes, weigh 0. A file of the same name in a second folder gives
    weights, 0 to 255 for 0 to 1; without one all others weigh 1. Where the pool has images of scenes that the labels
    have not, as SemiOVS adds them, they belong to the unlabelled images of the source.

    Args:
        source: gives labelled, unlabelled and validation samples of segmentation.
        folder: of the masks.
        weights: folder of the weights; None: all that is labelled weighs 1.

    Attributes are those of a :class:`SegmentationSource`.

    Raises:
        MissingDataError: no such folder.
        ConfigError: a source of whole images with a class.

    Source: pseudo-labels of an open-vocabulary model for further images: SemiOVS, arXiv 2507.03302.
    """

    def __init__(self, source: Callable[[], Any], folder: str | Path, *, weights: str | Path | None = None) -> None:
        base = source()
        if not hasattr(base, "spec"):
            raise ConfigError("pool: masks are labels of pixels, and this data set has a class for an image")
        for place in (folder, *([] if weights is None else [weights])):
            if not Path(place).is_dir():
                raise MissingDataError(f"pool: {place} is no folder of mask files")
        self.spec: DatasetSpec = base.spec
        self.labelled, self.validation = base.labelled, base.validation
        self.unlabelled = MaskedSamples(base.unlabelled, base.spec, folder, weights)


class MaskedSamples:
    """Unlabelled samples with pseudo-labels in mask files, read when asked for.

    Args:
        samples: of a source.
        spec: gives the ids their meaning.
        folder, weights: as of :class:`WithStoredMasks`.

    Raises on reading:
        MissingDataError: an image without a file.
        DataError: a file that cannot be read, of another size than its image, or with ids outside the specification.
    """

    def __init__(self, samples: Any, spec: DatasetSpec, folder: str | Path, weights: str | Path | None = None) -> None:
        self._samples = samples
        self._spec = spec
        self._folder = Path(folder)
        self._weights = None if weights is None else Path(weights)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int, /) -> StoredSample:
        sample = self._samples[index]
        label, weight = self._read(sample.name)
        check_same_size(sample.image, label, sample.name, str(self._file(self._folder, sample.name)))
        return StoredSample(sample.image, label, weight, sample.name)

    def mask(self, index: int, /) -> None:
        """No mask: what is stored is no truth."""

    def pseudo_label(self, index: int, /) -> tuple[Tensor, Tensor]:
        """Class ids and weights of a sample, without reading its image."""
        return self._read(self.entry(index).image if hasattr(self._samples, "entry") else self._samples[index].name)

    def files(self, index: int, /) -> tuple[Path | None, Path | None]:
        return files_of(self._samples, index)[0], None

    def __getattr__(self, name: str) -> Any:
        if name == "entry":  # where the samples have it
            return self._samples.entry
        raise AttributeError(name)

    def _read(self, name: str) -> tuple[Tensor, Tensor]:
        path = self._file(self._folder, name)
        ids = self._spec.encode(self._ids(path, name), str(path), outside=True)
        known = (ids >= 0) & (ids != self._spec.ignore_index)
        weight = torch.full_like(ids, 255)
        if self._weights is not None:
            stored = self._file(self._weights, name)
            weight = self._ids(stored, name).long()
            if weight.shape != ids.shape or weight.max() > 255:
                raise DataError(f"{stored}: expected weights from 0 to 255 of the size of {path}")
        return ids.where(known, 0), (weight * known).to(torch.uint8)

    @staticmethod
    def _file(folder: Path, name: str) -> Path:
        stem = name[: name.rindex(".")] if name.lower().endswith(IMAGE_SUFFIXES) else name
        return folder / f"{stem}.png"

    @staticmethod
    def _ids(path: Path, name: str) -> Tensor:
        if not path.is_file():
            raise MissingDataError(f"{path}: no stored mask for the image {name}; make one, or leave the image out")
        return read_mask(path)
