"""What a classification dataset hands out: images with a class each, in three subsets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from residual_ssl.data.samples import OUTSIDE, files_of
from residual_ssl.data.splits.lists import ListEntry, few
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


def class_ids(
    raw: Sequence[int | str | None], classes: Sequence[str], names: Sequence[str] | None, source: str
) -> tuple[int | None, ...]:
    """Class ids of the labels that a dataset holds; the wanted classes decide what a number means.

    Where the classes are themselves numbers, "1", "2", "3", a label 1 is of the class "1". Where they are words,
    numbers are ids, 0 … K-1. Truth values are the classes "False" and "True".

    Args:
        raw: a label of each sample: a name; a number; a truth value; None or a number below 0 where there is none.
        classes: names of the wanted classes, in the order of their ids.
        names: what the ids of the dataset mean; None where they are the wanted ones already.
        source: names the dataset in messages.

    Returns:
        Ids in ``classes``; :data:`OUTSIDE` for classes that are not among them, None without a label.

    Raises:
        ConfigError: wanted classes that the dataset does not have, or that are no names; numbers in the dataset for
            classes of which some are numbers and some words; truth values for other classes.

    Example:
        >>> class_ids([0, 2, -1, 1], ["dog", "cat"], ["cat", "car", "dog"], "pets")
        (1, 0, None, -1)
        >>> class_ids([1, 3, 2], ["3", "2", "1"], None, "levels")
        (2, 0, 1)
    """
    _check_names(classes)
    wanted = {name: index for index, name in enumerate(classes)}
    spoken = names is None and any(isinstance(label, str) for label in raw)
    if names is None and not spoken:
        raw = _named_by_classes(raw, classes, source)
    if spoken:
        names = sorted({label for label in raw if isinstance(label, str)})
    if names is not None:
        strange = [name for name in classes if name not in names]
        if strange:
            near = {_plain(name): name for name in names}
            meant = [f"{name!r} is {near[_plain(name)]!r} there" for name in strange if _plain(name) in near]
            raise ConfigError(
                f"classes: {few(strange)} not among those of {source}, which are {few(list(names), 20)}; name them "
                f"as it does{f' ({few(meant)})' if meant else ''}"
            )

    def meaning(label: int | str | None) -> int | None:
        if label is None or (not isinstance(label, str) and label < 0):
            return None
        if isinstance(label, str):
            return wanted.get(label, OUTSIDE)
        if names is not None:
            if label >= len(names):
                raise ConfigError(f"labels: got id {label} in {source}, which names {len(names)} classes")
            return wanted.get(names[label], OUTSIDE)
        return int(label) if label < len(classes) else OUTSIDE

    known = {label: meaning(label) for label in set(raw)}
    return tuple(known[label] for label in raw)


def _check_names(classes: Sequence[str]) -> None:
    for name in classes:
        if isinstance(name, bool):
            raise ConfigError(
                f"classes: got {name!r}, expected names; YAML reads no, yes, off, on, false and true as truth values "
                'unless they are quoted: "no", "yes"'
            )
        if not isinstance(name, str):
            raise ConfigError(f"classes: got {name!r}, expected names, strings; quote it, as '{name}'")


def _named_by_classes(
    raw: Sequence[int | str | None], classes: Sequence[str], source: str
) -> Sequence[int | str | None]:
    """Numbers and truth values as names, where the classes are such; as they are where numbers are ids."""
    if any(isinstance(label, bool) for label in raw):
        spelled = {_plain(name): name for name in classes}
        if not {"false", "true"} & set(spelled):
            raise ConfigError(
                f"classes: got {few(list(classes))} for {source}, whose labels are truth values; name the classes "
                "False and True"
            )
        return [label if label is None else spelled.get(str(label).lower(), str(label)) for label in raw]
    if not any(isinstance(label, int) and label >= 0 for label in raw):
        return raw
    numbers = [name for name in classes if name.strip().lstrip("-").isdecimal()]
    if not numbers:
        _check_ids(raw, classes, source)
        return raw
    if len(numbers) < len(classes):
        words = [name for name in classes if name not in numbers]
        raise ConfigError(
            f"classes: got the numbers {few(numbers)} and the words {few(words)} for {source}, whose labels are "
            "numbers: are these names or ids? Name all classes by numbers, or all by words in the order of their ids"
        )
    spelled = {str(int(name)): name for name in classes}
    if len(spelled) < len(classes):
        raise ConfigError(f"classes: got {few(list(classes))}, of which some are the same number; name each once")
    named = [None if label is None else spelled.get(str(label), str(label)) for label in raw]
    # A number below 0 that is no class marks a sample without a label.
    return [label if label in classes or label is None or not label.startswith("-") else None for label in named]


def _check_ids(raw: Sequence[int | str | None], classes: Sequence[str], source: str) -> None:
    """Refuse numbers that are likely not the ids 0 … K-1 of classes named by words."""
    found = {label for label in raw if isinstance(label, int) and label >= 0}
    if len(classes) in found and 0 not in found:
        raise ConfigError(
            f"labels: {source} has the numbers {min(found)} … {max(found)} and no 0, for the {len(classes)} classes "
            f"{few(list(classes))}; are they counted from 1? Name the classes by these numbers, or subtract 1"
        )
    if [_plain(name) for name in classes] in (["true", "false"], ["yes", "no"]) and found <= {0, 1}:
        raise ConfigError(
            f"classes: got {few(list(classes))} for {source}, whose labels are 0 and 1; class 0 would be "
            f"{classes[0]!r}. Give the classes in the order of their ids, or name them 0 and 1"
        )


def _plain(name: str) -> str:
    return name.strip().lower()
