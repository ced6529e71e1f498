"""Data sets whose samples have any number of labels: a table of images, a split, or the classes that masks show."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from residual_ssl.data.images import read_image
from residual_ssl.data.samples import Samples, SegmentationSource
from residual_ssl.data.splits.lists import ListEntry, few
from residual_ssl.errors import ConfigError, DataError, MissingDataError

Labels = tuple[int | None, ...]
_VALUES = {"1": 1, "0": 0, "": None, "1.0": 1, "0.0": 0}


class MultiLabelSample(NamedTuple):
    """One input with its labels.

    Attributes:
        image: uint8 ``(C, H, W)``, or what else a source holds.
        label: for each of L labels 1 present, 0 absent, None unknown; None as a whole where nothing is known.
        name: unique within the dataset.
    """

    image: Tensor
    label: Labels | None
    name: str


class MultiLabelSamples(Protocol):
    """Samples by position, opened when asked for, and the labels of all of them, known without opening one."""

    @property
    def labels(self) -> Sequence[Labels | None]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> MultiLabelSample: ...

    def entry(self, index: int, /) -> ListEntry: ...


class LabelTable:
    """Images with their labels from a CSV file, whose first column is the image, and which has a column of each label.

    Cells hold 1 where a label is present, 0 where it is absent, and nothing where that is not known.

    Args:
        table: the file; its first line names the columns. Columns of no wanted label are passed over.
        classes: names of the labels.
        root: folder that images are relative to; None for that of the table.

    Raises:
        MissingDataError: no such file.
        DataError: a wanted label without a column, a cell of another value, an image given twice.
    """

    def __init__(self, table: str | Path, classes: Sequence[str], root: str | Path | None = None) -> None:
        path = Path(table).expanduser()
        if not path.is_file():
            raise MissingDataError(f"table: {path} is not a file; give a CSV file of images and labels")
        self._root = path.parent if root is None else Path(root).expanduser()
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        lost = [name for name in classes if name not in header[1:]]
        if lost:
            raise DataError(f"{path}: has no column {few(lost)}; its columns are {few(header, 20)}")
        places = [header.index(name) for name in classes]
        rows = [row for row in rows if row]
        self._names = [row[0] for row in rows]
        twice = sorted({name for name in self._names if self._names.count(name) > 1}) if len(rows) < 10_000 else []
        if twice:
            raise DataError(f"{path}: names {few(twice)} more than once; give each image one line")
        self.labels: Sequence[Labels | None] = [
            tuple(_value(row, place, f"{path}, line {number}, {header[place]}") for place in places)
            for number, row in enumerate(rows, start=2)
        ]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int, /) -> MultiLabelSample:
        return MultiLabelSample(read_image(self._root / self._names[index]), self.labels[index], self._names[index])

    def entry(self, index: int, /) -> ListEntry:
        return ListEntry(self._names[index], None)


def _value(row: Sequence[str], place: int, where: str) -> int | None:
    text = row[place].strip() if place < len(row) else None
    if text not in _VALUES:
        raise DataError(f"{where}: got {text!r}, expected 1 (present), 0 (absent) or nothing (unknown)")
    return _VALUES[text]


class MultiLabelSplit:
    """A source of a training and a validation set, of which some training samples are labelled.

    Args:
        classes: names of the L labels.
        train, validation: read the samples of a set, each called once.
        labelled: how many of the training samples whose labels are all known are labelled, drawn by the seed: with one
            seed, a smaller draw is part of every larger one; or ``"all"`` of them.
        unlabelled_truth: keep known labels of unlabelled samples, *for diagnostics only*.
        seed: of the draw.

    Attributes ``classes``, ``labelled``, ``unlabelled``, ``validation``: as of a ``ClassificationSource``.

    Raises:
        ConfigError: another number of labelled samples than there can be.
        DataError: a validation sample of which no label is known.
    """

    def __init__(
        self,
        classes: Sequence[str],
        train: Callable[[], MultiLabelSamples],
        validation: Callable[[], MultiLabelSamples],
        labelled: int | str,
        unlabelled_truth: bool = True,
        seed: int = 0,
    ) -> None:
        self.classes = tuple(classes)
        samples, held_out = train(), validation()
        known = [i for i, label in enumerate(samples.labels) if label is not None and None not in label]
        count = len(known) if labelled == "all" else labelled
        if not isinstance(count, int) or not 1 <= count <= len(known):
            raise ConfigError(
                f"labelled: got {labelled!r}, expected a number in 1 … {len(known)}, the training samples whose labels "
                "are all known, or all"
            )
        bare = [held_out.entry(i).image for i, label in enumerate(held_out.labels) if not _any_known(label)]
        if bare:
            raise DataError(f"{len(bare)} validation samples have no known label: {few(bare)}; leave them out")
        order = torch.randperm(len(known), generator=torch.Generator().manual_seed(seed)).tolist()
        chosen = {known[i] for i in order[:count]}
        self.labelled = _Part(samples, sorted(chosen))
        self.unlabelled = _Part(samples, [i for i in range(len(samples)) if i not in chosen], unlabelled_truth)
        self.validation = _Part(held_out, range(len(held_out)))


def _any_known(label: Labels | None) -> bool:
    return label is not None and any(value is not None for value in label)


class _Part:
    """Some samples of a set, with their labels or without."""

    def __init__(self, samples: MultiLabelSamples, places: Sequence[int], labels: bool = True) -> None:
        self._samples = samples
        self._places = places
        self.labels = [samples.labels[i] if labels else None for i in places]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int, /) -> MultiLabelSample:
        return self._samples[self._places[index]]._replace(label=self.labels[index])

    def entry(self, index: int, /) -> ListEntry:
        return self._samples.entry(self._places[index])


class PresentClasses:
    """Which classes the masks of a segmentation data set show anywhere, as labels of its images.

    Args:
        source: ``source()`` gives images and masks.
        least: points from which on a class counts as shown, ≥ 1.

    Attributes ``labelled``, ``unlabelled``, ``validation``: as of a ``ClassificationSource``, with labels for all
    classes but one that is named background; samples without a mask have none. ``classes``: their names.

    Example:
        >>> from functools import partial
        >>> from residual_ssl.tasks.segmentation import DigitScenes
        >>> shown = PresentClasses(partial(DigitScenes, labelled=2, unlabelled=1, validation=1))
        >>> len(shown.classes), sum(shown.labelled[0].label) in (1, 2, 3, 4, 5)
        (10, True)
    """

    def __init__(self, source: Callable[[], SegmentationSource], least: int = 1) -> None:
        found = source()
        self.ids = [i for i, name in enumerate(found.spec.classes) if name != "background"]
        self.classes = tuple(found.spec.classes[i] for i in self.ids)
        self.labelled, self.unlabelled, self.validation = (
            _Shown(samples, self.ids, least) for samples in (found.labelled, found.unlabelled, found.validation)
        )


class _Shown:
    def __init__(self, samples: Any, ids: Sequence[int], least: int) -> None:
        self._samples: Samples = samples
        masks = (samples.mask(i) if hasattr(samples, "mask") else samples[i].mask for i in range(len(samples)))
        self.labels: list[Labels | None] = [
            None if mask is None else tuple(int((mask == i).sum() >= least) for i in ids) for mask in masks
        ]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int, /) -> MultiLabelSample:
        sample = self._samples[index]
        return MultiLabelSample(sample.image, self.labels[index], sample.name)

    def entry(self, index: int, /) -> ListEntry:
        return ListEntry(self._samples[index].name, None)
