"""Images with classes from the data sets of torchvision."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torchvision
from torchvision.transforms.v2 import functional as F

from residual_ssl.data.classified import ClassifiedSample, class_ids
from residual_ssl.data.splits import ListEntry
from residual_ssl.errors import ConfigError, MissingDataError

# Where torchvision keeps the labels of all images.
_LABELS = ("targets", "labels", "_labels")


class TorchvisionImages:
    """A split of a data set of ``torchvision.datasets``, as :class:`ClassifiedSamples`; images become RGB.

    Samples are named ``SPLIT/INDEX``, as ``train/000012``.

    Args:
        name: of the class there: ``"CIFAR10"``, ``"SVHN"``, ``"STL10"``, …
        root: folder of its files.
        classes: names of the classes, in the order of their ids; found by name where the data set has names.
        split: one of the data set's own; ``"train"`` or ``"test"`` where it has no other.
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
        if not inspect.isclass(kind):
            raise ConfigError(f"name: got {name!r}, expected a data set of torchvision: CIFAR10, CIFAR100, SVHN, STL10, …")
        by_flag = "train" in inspect.signature(kind).parameters
        if by_flag and split not in ("train", "test"):
            raise ConfigError(f"split: got {split!r}, expected train or test of {name}")
        part = {"train": split == "train"} if by_flag else {"split": split}
        try:
            self._data: Any = kind(root, download=download, **part)
        except ValueError as error:
            raise ConfigError(f"split: got {split!r} for {name}: {error}") from error
        except (RuntimeError, OSError) as error:
            raise MissingDataError(
                f"root: {name} is not in {root} ({error}); give the folder of its files, or set download to true"
            ) from error
        raw = next((getattr(self._data, place) for place in _LABELS if hasattr(self._data, place)), None)
        if raw is None:
            raise ConfigError(f"name: torchvision's {name} does not list its labels; read it with HuggingFaceImages")
        names = getattr(self._data, "classes", None)
        self._split = split
        self.labels = class_ids([int(label) for label in raw], classes, names, name)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int, /) -> ClassifiedSample:
        picture, _ = self._data[index]
        return ClassifiedSample(F.pil_to_tensor(picture.convert("RGB")), self.labels[index], self.entry(index).image)

    def entry(self, index: int, /) -> ListEntry:
        return ListEntry(f"{self._split}/{index:06d}", None)
