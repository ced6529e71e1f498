"""Images of one's own in a folder for each class: the data set's configuration, and the lists of what is held out."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from residual_ssl.commands.own_data.segmentation import NOTHING_HELD_OUT, Described, below, normal
from residual_ssl.commands.own_data.sizes import (
    batches,
    classification_settings,
    image_channels,
    image_sizes,
    middle_size,
    pretrained_hint,
)
from residual_ssl.commands.own_data.validation import held_out, number_of
from residual_ssl.data import ClassFolders
from residual_ssl.data.splits.lists import few, read_list
from residual_ssl.errors import ConfigError, DataError, MissingDataError

_TRAIN = "train"
_VALIDATION = ("val", "valid", "validation", "test")


def described_classes(
    images: str,
    classes: Sequence[str],
    labelled: int | str | Path,
    validation: int | float | str | Path,
    unlabelled: str | None,
    *,
    given: bool,
) -> Described:
    """Describe a folder of class folders; see :class:`~residual_ssl.commands.own_data.OwnData`.

    A folder with the folders ``train`` and ``val`` (or ``valid``, ``validation``, ``test``), each of class folders, is
    taken for what it looks like unless ``given`` says that the user chose the validation set.
    """
    top = normal(images)
    there = _folders(top, images)
    if _TRAIN in there and not given and (of_validation := [name for name in _VALIDATION if name in there]):
        images, validation = os.path.join(images, _TRAIN), os.path.join(images, of_validation[0])
        top, there = top / _TRAIN, _folders(top / _TRAIN, images)
    folders = [top, *(normal(f) for f in (validation, unlabelled) if isinstance(f, str))]
    root = Path(os.path.commonpath(folders))
    names = list(classes) or [name for name in there if Path(name) != _inside(top, unlabelled)]
    if len(names) < 2:
        raise ConfigError(
            f"images: {images} holds {len(names)} folders, expected one for each of at least two classes; for "
            "segmentation give --masks FOLDER as well"
        )
    samples = ClassFolders(root, names, below(root, images))
    by_class: dict[int, list[str]] = defaultdict(list)
    for index, label in enumerate(samples.labels):
        if label is not None and label >= 0:
            by_class[label].append(samples.entry(index).image)
    if empty := [name for number, name in enumerate(names) if not by_class[number]]:
        raise DataError(f"images: no image in the class folders {', '.join(empty)} of {images}")
    dataset: dict[str, Any] = {"root": str(root), "classes": names, "train": below(root, images)}
    lists: dict[str, list[str]] = {}
    left = sum(map(len, by_class.values()))
    taken = {entry.image for entry in read_list(labelled)} if isinstance(labelled, Path) else set()
    if isinstance(labelled, int) and not len(names) <= labelled <= left:
        raise ConfigError(f"labelled: got {labelled}, expected {len(names)} (one of each class) to {left}")
    if isinstance(validation, str):
        dataset["validation"] = below(root, validation)
        measured = f"{validation} to measure on"
    else:
        free = {label: [name for name in of_class if name not in taken] for label, of_class in by_class.items()}
        kept = (
            _held_out(free, labelled, validation) if not isinstance(validation, Path) else _listed(validation, samples)
        )
        left -= len(kept)
        if kept:
            dataset |= {"train_list": "train", "validation": dataset["train"], "validation_list": "validation"}
            everyone = [samples.entry(index).image for index in range(len(samples))]
            lists = {"train": [name for name in everyone if name not in kept], "validation": sorted(kept)}
        else:
            dataset["validation"] = None
        measured = f"{len(kept)} held out to measure on" if kept else NOTHING_HELD_OUT
    dataset["split"] = labelled.stem if isinstance(labelled, Path) else labelled
    if isinstance(labelled, Path):
        dataset["labelled"] = str(labelled)
    if unlabelled is not None:
        dataset["unlabelled_images"] = below(root, unlabelled)
    sizes = image_sizes([samples.files(index)[0] for index in range(len(samples))])
    if not sizes:
        raise DataError(f"images: none of the {len(samples)} files in {images} can be read as an image")
    channels, channels_remark = image_channels([samples.files(index)[0] for index in range(len(samples))])
    dataset |= classification_settings(sizes) | channels
    count = labelled if isinstance(labelled, int) else len(taken) or left
    height, width = middle_size(sizes)
    shares = ", ".join(f"{name} {len(by_class[number])}" for number, name in enumerate(names[:_SHOWN]))
    remarks = [
        ("images", f"{len(samples)} in {images}: {shares}{' …' if len(names) > _SHOWN else ''}; {measured}"),
        ("size", f"{height}×{width} (height×width, median), resized to {dataset['size']}"),
        *channels_remark,
        *pretrained_hint(sizes),
    ]
    return Described(dataset, batches(count, len(samples)), lists, remarks)


_SHOWN = 12


def _held_out(by_class: dict[int, list[str]], labelled: int | str | Path, share: int | float) -> set[str]:
    """Names to hold out, of each class alike, leaving enough of it to be labelled."""
    needed = -(-labelled // len(by_class)) if isinstance(labelled, int) else 1
    each = -(-share // len(by_class)) if isinstance(share, int) else share
    return {
        name
        for names in by_class.values()
        for name in held_out(names, number_of(each, len(names)), len(names) - needed)
    }


def _listed(path: Path, samples: ClassFolders) -> set[str]:
    """The names in a list, which are those of samples."""
    names = {samples.entry(index).image for index in range(len(samples))}
    listed = {entry.image for entry in read_list(path)}
    if lost := sorted(listed - names):
        raise DataError(f"{path}: no such images: {few(lost)}; they are named {few(sorted(names), 2)}")
    return listed


def _folders(folder: Path, given: str) -> list[str]:
    if not folder.is_dir():
        raise MissingDataError(f"images: {given} is not a folder")
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _inside(top: Path, unlabelled: str | None) -> Path | None:
    """The name of the folder of unlabelled images, where it lies among the classes."""
    path = None if unlabelled is None else normal(unlabelled)
    return Path(path.name) if path is not None and path.parent == top else None
