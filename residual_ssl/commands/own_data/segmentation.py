"""Images and masks of one's own: the data set's configuration, and the lists of what is held out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from residual_ssl.commands.own_data.masks import mask_ids, mask_paths, named_classes
from residual_ssl.commands.own_data.sizes import (
    batches,
    image_channels,
    image_sizes,
    middle_size,
    pretrained_hint,
    segmentation_settings,
)
from residual_ssl.commands.own_data.validation import held_out, number_of
from residual_ssl.data.segmentation.listing import FolderPair
from residual_ssl.data.splits.lists import read_list
from residual_ssl.errors import ConfigError, DataError


@dataclass(frozen=True)
class Described:
    """A data set of one's own.

    Attributes:
        dataset: entries of its configuration.
        settings: of a run on it: batches.
        lists: names in each split list, by its name; None where the folders say all.
        remarks: a line each, with a heading, for the user.
    """

    dataset: dict[str, Any]
    settings: dict[str, Any]
    lists: Mapping[str, Sequence[str]]
    remarks: list[tuple[str, str]]


def described_masks(
    images: str,
    masks: str,
    classes: Sequence[str],
    labelled: int | str | Path,
    validation: int | float | str | Path,
    validation_masks: str | None,
    unlabelled: str | None,
    colours: Sequence[str] = (),
) -> Described:
    """Describe folders of images and masks; see :class:`~residual_ssl.commands.own_data.OwnData`."""
    if isinstance(validation, str) != (validation_masks is not None):
        raise ConfigError(
            f"validation: got {validation} and for its masks {validation_masks}, expected two folders: --validation "
            "IMAGES --validation-masks MASKS; or one number, of images to hold out"
        )
    folders = [images, masks, *(f for f in (validation_masks, unlabelled) if f is not None)]
    folders += [validation] if isinstance(validation, str) else []
    places = [normal(folder) for folder in folders]
    root = Path(os.path.commonpath(places))
    root = root.parent if root in places else root
    train = {"images": below(root, images), "masks": below(root, masks)}
    replacements = mask_paths(root, train["images"], train["masks"])
    scanned = FolderPair.scan(root, train["images"], train["masks"], replacements or {})
    pairs = scanned.all()
    names = {path: path.relative_to(root).as_posix() for path in pairs}
    with_mask = [path for path, mask in pairs.items() if mask is not None]
    ids = mask_ids([mask for mask in pairs.values() if mask is not None], classes, colours)
    sizes = image_sizes(list(pairs))
    if not sizes:
        raise DataError(f"images: none of the {len(pairs)} files in {images} can be read as an image")
    dataset: dict[str, Any] = {"root": str(root), "classes": named_classes(classes), "train": train}
    lists: dict[str, list[str]] = {}
    left = len(with_mask)
    taken: set[str] = set()
    if isinstance(labelled, Path):
        taken = {path.relative_to(root).as_posix() for path in scanned.listed(read_list(labelled), str(labelled))}
    elif isinstance(labelled, int) and labelled > left:
        raise ConfigError(f"labelled: got {labelled}, expected at most {left}, the images that have a mask")
    if isinstance(validation, str):
        dataset["validation"] = {"images": below(root, validation), "masks": below(root, str(validation_masks))}
        measured = f"{validation} to measure on"
    else:
        if isinstance(validation, Path):
            listed = scanned.listed(read_list(validation), str(validation))
            kept = {path.relative_to(root).as_posix() for path in listed}
        else:
            spared = left - (labelled if isinstance(labelled, int) else 1)
            free = [name for path in with_mask if (name := names[path]) not in taken]
            kept = set(held_out(free, number_of(validation, left), spared))
        left -= len(kept)
        dataset["validation"] = {**train, "list": "validation"} if kept else None
        if kept:
            dataset["train"] = {**train, "list": "train"}
            lists = {"train": [name for name in names.values() if name not in kept], "validation": sorted(kept)}
        measured = f"{len(kept)} held out to measure on" if kept else NOTHING_HELD_OUT
    count = labelled if isinstance(labelled, int) else len(taken) or left
    dataset["split"] = labelled.stem if isinstance(labelled, Path) else labelled
    dataset["labelled"] = str(labelled) if isinstance(labelled, Path) else "${dataset.split}"
    if unlabelled is not None:
        dataset["unlabelled_images"] = below(root, unlabelled)
    if replacements is not None:
        dataset["mask_paths"] = replacements
    if ids.colours is not None:
        dataset["mask_colours"] = ids.colours
        dataset["palette"] = [ids.colours[name][0] for name in named_classes(classes)]
    if ids.label_map is not None:
        dataset["label_map"] = ids.label_map
    channels, channels_remark = image_channels(list(pairs))
    dataset |= segmentation_settings(sizes) | channels
    height, width = middle_size(sizes)
    pool = len(pairs) - len(with_mask) + left - count
    crop = "×".join(map(str, dataset["geometry"]["crop"]))
    remarks = [
        ("images", f"{len(pairs)} in {images}, {len(with_mask)} of them with a mask; {measured}"),
        ("size", f"{height}×{width} (height×width, median), crops of {crop}"),
        *channels_remark,
        *([("masks", ids.remark)] if ids.remark else []),
        *pretrained_hint(sizes),
    ]
    return Described(dataset, batches(count, pool), lists, remarks)


NOTHING_HELD_OUT = "none to measure on: label fewer, or give --validation FOLDER"


def below(root: Path, folder: str) -> str:
    """A folder relative to the root."""
    return Path(os.path.relpath(normal(folder), root)).as_posix()


def normal(folder: str) -> Path:
    """The absolute path of a folder, without ``..``."""
    return Path(os.path.abspath(Path(folder).expanduser()))
