"""What a classification dataset hands out: images with a class each, in three subsets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from residual_ssl.data.samples import files_of
from residual_ssl.data.splits.lists import ListEntry
from residual_ssl.errors import ConfigError


class ClassifiedSample(NamedTuple):
    """One image with its class.

    Attributes:
        image: uint8 ``(C, H, W)``, RGB where C = 3.
        label: class id; :data:`OUTSIDE` for an image known to be of none of the classes; None where nothing is known.
        name: unique within the dataset.
    """

    image: Tensor
    label: int | None
    name: str


class ClassifiedSamples(Protocol):
    """Images with their classes by position, opened when asked for.

    Attributes:
        labels: of all samples, as in :class:`ClassifiedSample`, known without opening an image.
    """

    @property
    def labels(self) -> Sequence[int | None]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> ClassifiedSample: ...

    def entry(self, index: int, /) -> ListEntry:
        """The line of a sample in a split list: its name, without opening the image."""


class ClassificationSource(Protocol):
    """A dataset for semi-supervised classification.

    Attributes:
        classes: names of the K classes; the place of a name is its class id.
        labelled: samples with a class each, to learn from.
        unlabelled: samples whose class no algorithm sees; where it is filled, it serves diagnostics only.
        validation: samples with a class each, to measure on; none of them is in the other two.
    """

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def labelled(self) -> ClassifiedSamples: ...

    @property
    def unlabelled(self) -> ClassifiedSamples: ...

    @property
    def validation(self) -> ClassifiedSamples: ...


class ImageArrays:
    """Images that lie in memory, as :class:`ClassifiedSamples`.

    Args:
        images: uint8 ``(N, C, H, W)``.
        labels: class of each, as in :class:`ClassifiedSample`.
        name: samples are named ``NAME/000012``.

    Raises:
        ConfigError: another shape or kind of images, or another number of labels.

    Example:
        >>> samples = ImageArrays(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), [1, None], "mine")
        >>> samples[1].label, samples[1].name
        (None, 'mine/000001')
    """

    def __init__(self, images: Tensor, labels: Iterable[int | None], name: str) -> None:
        self.labels = tuple(labels)
        if images.dtype != torch.uint8 or images.dim() != 4 or len(images) != len(self.labels):
            raise ConfigError(
                f"images: got {images.dtype} of shape {tuple(images.shape)} for {len(self.labels)} labels, expected "
                "torch.uint8 (N, C, H, W) and N labels"
            )
        self._images = images
        self._name = name

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int, /) -> ClassifiedSample:
        return ClassifiedSample(self._images[index], self.labels[index], self.entry(index).image)

    def entry(self, index: int, /) -> ListEntry:
        return ListEntry(f"{self._name}/{index:06d}", None)


class ClassifiedSubset:
    """Some samples of another sequence, in an order of their own.

    Args:
        samples: all of them.
        indices: places of the chosen ones.
        labels: False leaves their classes unknown.

    Example:
        >>> samples = ImageArrays(torch.zeros(3, 3, 4, 4, dtype=torch.uint8), [0, 1, 2], "mine")
        >>> [sample.name for sample in ClassifiedSubset(samples, [2, 0])]
        ['mine/000002', 'mine/000000']
    """

    def __init__(self, samples: ClassifiedSamples, indices: Iterable[int], *, labels: bool = True) -> None:
        self._samples = samples
        self._indices = tuple(indices)
        self.labels = tuple(samples.labels[i] if labels else None for i in self._indices)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int, /) -> ClassifiedSample:
        return self._samples[self._indices[index]]._replace(label=self.labels[index])

    def entry(self, index: int, /) -> ListEntry:
        return self._samples.entry(self._indices[index])

    def files(self, index: int, /) -> tuple[Path | None, Path | None]:
        """Files of a sample, where the other sequence has files."""
        return files_of(self._samples, self._indices[index])


class JoinedSamples:
    """The samples of several sequences, one after the other.

    Example:
        >>> one = ImageArrays(torch.zeros(1, 3, 4, 4, dtype=torch.uint8), [0], "one")
        >>> two = ImageArrays(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), [1, 1], "two")
        >>> [sample.name for sample in JoinedSamples([one, two])]
        ['one/000000', 'two/000000', 'two/000001']
    """

    def __init__(self, parts: Sequence[ClassifiedSamples]) -> None:
        self._places = [(part, index) for part in parts for index in range(len(part))]
        self.labels = tuple(label for part in parts for label in part.labels)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int, /) -> ClassifiedSample:
        part, inner = self._places[index]
        return part[inner]

    def entry(self, index: int, /) -> ListEntry:
        part, inner = self._places[index]
        return part.entry(inner)

    def files(self, index: int, /) -> tuple[Path | None, Path | None]:
        """Files of a sample, where its sequence has files."""
        return files_of(*self._places[index])
