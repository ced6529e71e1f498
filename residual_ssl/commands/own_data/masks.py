"""Masks of one's own: which belongs to which image, and what the ids in them are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from residual_ssl.data.images import read_mask
from residual_ssl.data.segmentation.listing import IMAGE_SUFFIXES, MASK_SUFFIXES, image_files
from residual_ssl.data.segmentation.mask_colours import (
    IGNORE,
    MaskColours,
    colour_of,
    colour_shares,
    holds_colours,
)
from residual_ssl.data.spec import DatasetSpec
from residual_ssl.data.splits.lists import few
from residual_ssl.errors import ConfigError, DataError

_LOOKED_AT = 20
_IGNORED = 255
BINARY = {0: 0, 255: 1}


def mask_paths(root: Path, images: str, masks: str) -> dict[str, str] | None:
    """How an image's path becomes that of its mask, where masks do not have their image's stem; None where they do.

    Found where every mask is named as an image with the same ending: ``road_mask.png`` of ``road.jpg``.

    Raises:
        DataError: no mask has the stem of an image, nor such an ending; a folder without files.
        MissingDataError: a folder that is not there.
    """
    pictures = image_files(root, images, IMAGE_SUFFIXES)
    stems = {Path(key).name for key in pictures.values()}
    of_masks = list(image_files(root, masks, MASK_SUFFIXES))
    if images != masks and any(path.stem in stems for path in of_masks):
        return None
    endings = Counter(
        path.stem[end:] + path.suffix
        for path in of_masks
        for end in range(1, len(path.stem))
        if path.stem[:end] in stems
    )
    if not endings:
        names = few([path.name for path in sorted(pictures)], 2), few([path.name for path in of_masks], 2)
        raise DataError(
            f"masks: none in {masks} has the name of an image in {images}: there are the images {names[0]} and the "
            f"masks {names[1]}; a mask is named as its image (road.jpg, road.png), or with one ending more "
            "(road_mask.png)"
        )
    ending = endings.most_common(1)[0][0]
    folders = {} if images == masks else {f"{images}/": f"{masks}/"}
    suffixes = {path.suffix for path in pictures if not path.name.endswith(ending)}
    return folders | dict.fromkeys(sorted(suffixes), ending)


@dataclass(frozen=True)
class MaskIds:
    """What the ids in masks mean.

    Attributes:
        label_map: raw id → class id, None where they are the same.
        remark: what was concluded, for the user; empty for nothing.
        colours: of each class and of points without a label, None for masks of ids.
    """

    label_map: dict[int, int] | None
    remark: str
    colours: dict[str, list[list[int]]] | None = None


def mask_ids(files: Sequence[Path], classes: Sequence[str], colours: Sequence[str]) -> MaskIds:
    """What the ids or colours in masks mean, by looking at some.

    Args:
        files: masks.
        classes: names of the classes in the order of their ids, ``"ignore"`` for ids that mean no label; empty where
            the user gave none.
        colours: ``#rrggbb`` of each class, then those of points without a label; empty for masks of ids.

    Raises:
        ConfigError: no names, or ids or colours beyond them; says which there are.
        DataError: a mask that cannot be read.
    """
    if colours:
        return MaskIds(None, "", _meaning(files, classes, colours))
    if any(holds_colours(file) for file in _some(files)):
        seen = [f"{colour} ({share:.0%})" for colour, share in colour_shares(_some(files)).items()]
        raise ConfigError(
            f"colours: the masks hold colours, {few(seen, 12)}; say which stands for which class, --classes NAME,… "
            "--colours '#rrggbb,…' in the same order, and behind them those that mean no label"
        )
    found = sorted({value for file in _some(files) for value in torch.unique(read_mask(file)).tolist()})
    known = set(range(len(classes))) | {_IGNORED}
    if not classes:
        if set(found) == set(BINARY):
            raise ConfigError("classes: the masks hold 0 and 255; name the two, --classes background,NAME")
        named = ",".join(f"NAME{value}" for value in range(max((v for v in found if v != _IGNORED), default=1) + 1))
        raise ConfigError(
            f"classes: the masks hold the ids {few(list(map(str, found)), 30)}; name the classes in the order of their "
            f"ids, --classes {named} (255 means no label, and so does an id that you name ignore)"
        )
    if len(classes) == 2 and 255 in found and 1 not in found and set(found) <= set(BINARY):
        return MaskIds(
            BINARY,
            f"hold 0 and 255 and never 1: 255 is taken for {classes[1]!r}. Where it means no label, delete label_map",
        )
    if strange := set(found) - known:
        raise ConfigError(
            f"classes: got {len(classes)} names, {few(list(classes))}, which are the ids 0 to {len(classes) - 1}; the "
            f"masks hold also {few(list(map(str, sorted(strange))), 30)}. Name all in the order of their ids, "
            "and those that mean no label ignore"
        )
    if IGNORE not in classes:
        return MaskIds(None, "")
    names = named_classes(classes)
    meaning = {number: _IGNORED if name == IGNORE else names.index(name) for number, name in enumerate(classes)}
    return MaskIds({**meaning, _IGNORED: _IGNORED}, "")


def named_classes(classes: Sequence[str]) -> list[str]:
    """The classes without what means no label."""
    return [name for name in classes if name != IGNORE]


def _meaning(files: Sequence[Path], classes: Sequence[str], colours: Sequence[str]) -> dict[str, list[list[int]]]:
    """The colours of each class, tried on some masks."""
    if len(colours) < len(classes) or len(named_classes(classes)) < 2:
        raise ConfigError(f"colours: got {len(colours)} for {len(classes)} classes, expected one for each class")
    owners = [*classes, *[IGNORE] * (len(colours) - len(classes))]
    meaning: dict[str, list[list[int]]] = {}
    for owner, colour in zip(owners, colours, strict=True):
        meaning.setdefault(owner, []).append(list(colour_of(colour)))
    known = MaskColours(meaning, DatasetSpec(named_classes(classes)))
    for file in _some(files):
        known.read(file)
    return meaning


def _some(files: Sequence[Path]) -> Sequence[Path]:
    return files[:: -(-len(files) // _LOOKED_AT) or 1]
