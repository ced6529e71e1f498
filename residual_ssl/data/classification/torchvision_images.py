"""Images with classes from the data sets of torchvision."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torchvision
from torch.utils.data import ConcatDataset
from torchvision.transforms.v2 import functional as F

from residual_ssl.data.classification.class_ids import class_ids
from residual_ssl.data.classification.classified import ClassifiedSample
from residual_ssl.data.splits.lists import ListEntry
from residual_ssl.errors import ConfigError, MissingDataError

# Data sets that unpickle files which torchvision has not verified.
_UNSAFE = ("LSUN", "LSUNClass")
# Where torchvision keeps the labels of all images.
_LABELS = ("targets", "labels", "_labels")


class TorchvisionImages:
    """A split of a data set of ``torchvision.datasets``, as :class:`ClassifiedSamples`; images become RGB.

    Samples are named ``SPLIT/INDEX``, as ``train/000012``.

    Args:
        name: of the class there: ``"CIFAR10"``, ``"SVHN"``, ``"STL10"``, …
        root: folder of its files.
        classes: names of the classes, in the order of their ids; found by name where the data set has names.
        split: one of the data set's own, or several joined, ``"train+extra"``; ``"train"`` or ``"test"`` where it has
            no other.
        download: fetch the files where they are absent.

    Raises:
        ConfigError: an unknown data set, one that does not list its labels, a split or classes that it does not have.
        MissingDataError: files that are not there or cannot be had.

    Example:
        >>> TorchvisionImages("CIFAR10", "/nowhere", ["cat", "dog"])
        Traceback (most recent call last):
        residual_ssl.errors.MissingDataError: root: CIFAR10 is not in /nowhere ...
    """

    def __init__(
        self, name: str, root: str | Path, classes: Sequence[str], split: str = "train", download: bool = False
    ) -> None:
        kind = getattr(torchvision.datasets, name, None)
        if not inspect.isclass(kind) or name in _UNSAFE:
            raise ConfigError(
                f"name: got {name!r}, expected a data set of torchvision: CIFAR10, CIFAR100, SVHN, STL10, …"
            )
        parts = [_read(kind, root, part, download) for part in split.split("+")]
        names = getattr(parts[0], "classes", None)
        raw = [label for part in parts for label in _raw_labels(part, name)]
        self._split = split
        self._data: ConcatDataset[Any] = ConcatDataset(parts)
        self.labels = class_ids(raw, classes, names, name)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int, /) -> ClassifiedSample:
        picture, _ = self._data[index]
        return ClassifiedSample(F.pil_to_tensor(picture.convert("RGB")), self.labels[index], self.entry(index).image)

    def entry(self, index: int, /) -> ListEntry:
        return ListEntry(f"{self._split}/{index:06d}", None)


def _read(kind: Any, root: str | Path, split: str, download: bool) -> Any:
    by_flag = "train" in inspect.signature(kind).parameters
    if by_flag and split not in ("train", "test"):
        raise ConfigError(f"split: got {split!r}, expected train or test of {kind.__name__}")
    part = {"train": split == "train"} if by_flag else {"split": split}
    try:
        return kind(root, download=download, **part)
    except ValueError as error:
        raise ConfigError(f"split: got {split!r} for {kind.__name__}: {error}") from error
    except (RuntimeError, OSError) as error:
        raise MissingDataError(
            f"root: {kind.__name__} is not in {root} ({error}); give the folder of its files, or set download to true"
        ) from error


def _raw_labels(part: Any, name: str) -> list[int]:
    found = next((getattr(part, index) for index in _LABELS if hasattr(part, index)), None)
    if found is None:
        raise ConfigError(f"name: torchvision's {name} does not list its labels; read it with HuggingFaceImages")
    return [int(label) for label in found]
