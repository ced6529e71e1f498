"""Pairs of domains in their original layouts: two labelled images, two unlabelled and one for validation, made here."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from helpers.dataset_layouts import cityscapes_train_ids, unchanged
from helpers.png_files import write_deep_colours

Ids = NDArray[np.int64]

# Names as SYNTHIA's readme numbers them, and as Cityscapes calls what is the same; empty where it evaluates no such.
SYNTHIA_NAMES = (
    *("", "sky", "building", "road", "sidewalk", "fence", "vegetation", "pole", "car", "traffic sign", "person"),
    *("bicycle", "motorcycle", "", "", "traffic light", "terrain", "rider", "truck", "bus", "train", "wall", ""),
)
SIXTEEN = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "sky"),
    *("person", "rider", "car", "bus", "motorcycle", "bicycle"),
)
_NINETEEN = (*SIXTEEN[:9], "terrain", *SIXTEEN[9:13], "truck", "bus", "train", "motorcycle", "bicycle")


def sixteen_of_nineteen(raw: Ids) -> Ids:
    """Class ids among the 16 of Cityscapes' own ids."""
    places = [SIXTEEN.index(name) if name in SIXTEEN else 255 for name in _NINETEEN]
    return np.array([*places, *[255] * (256 - len(places))])[cityscapes_train_ids(raw)]


def synthia_classes(raw: Ids) -> Ids:
    return np.array([SIXTEEN.index(name) if name in SIXTEEN else 255 for name in SYNTHIA_NAMES])[raw]


def save_grey(path: Path, ids: Ids) -> None:
    Image.fromarray(ids.astype(np.uint8)).save(path)


def save_palette(path: Path, ids: Ids) -> None:
    image = Image.fromarray(ids.astype(np.uint8), "P")
    image.putpalette(list(range(255, -1, -1)) * 3)
    image.save(path)


def save_deep(path: Path, ids: Ids) -> None:
    instances = np.arange(ids.size).reshape(ids.shape) * 7 % 2**16
    write_deep_colours(path, np.stack([ids, instances, instances], -1))


@dataclass(frozen=True)
class Domain:
    """Files of one domain.

    Attributes:
        pairs: (image, mask) below the root; masks of unlabelled images are not made.
        raw: ids that mask files may hold.
        classes: class ids of raw ids, by the definition of the data set.
        save: writes a mask file.
    """

    pairs: tuple[tuple[str, str], ...]
    raw: tuple[int, ...]
    classes: Callable[[Ids], Ids]
    save: Callable[[Path, Ids], None] = save_grey

    def make(self, root: Path, masks: set[int]) -> dict[str, Ids]:
        """Random images, whose colours follow from the class; the raw ids of each mask that was made."""
        rng = np.random.default_rng(len(self.raw))
        made = {}
        for index, (image, mask) in enumerate(self.pairs):
            ids = rng.choice(np.array(self.raw), (5, 6)).repeat(16, 0).repeat(16, 1)
            noise = rng.integers(0, 60, (*ids.shape, 3))
            (root / image).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((ids[..., None] // 2 + noise).astype(np.uint8)).save(root / image)
            if index in masks:
                (root / mask).parent.mkdir(parents=True, exist_ok=True)
                self.save(root / mask, ids)
                made[image] = ids
        return made


def _city(part: str, city: str, frame: int) -> tuple[str, str]:
    name = f"{city}_{frame:06d}_000019"
    return f"leftImg8bit/{part}/{city}/{name}_leftImg8bit.png", f"gtFine/{part}/{city}/{name}_gtFine_labelIds.png"


def _drive(condition: str, part: str, sequence: str, frame: int) -> tuple[str, str]:
    name = f"{condition}/{part}/{sequence}/{sequence}_frame_{frame:06d}"
    return f"rgb_anon/{name}_rgb_anon.png", f"gt/{name}_gt_labelTrainIds.png"


_TARGET_CITIES = (_city("train", "aachen", 0), _city("train", "ulm", 1), _city("val", "lindau", 2))
_TRAIN_IDS = (*range(19), 255)

GTA5 = Domain(
    (("images/00001.png", "labels/00001.png"), ("images/00002.png", "labels/00002.png")),
    tuple(range(35)),
    lambda raw: np.where(raw == 34, 255, cityscapes_train_ids(np.minimum(raw, 33))),
    save_palette,
)
SYNTHIA = Domain(
    (("RGB/0000000.png", "GT/LABELS/0000000.png"), ("RGB/0000001.png", "GT/LABELS/0000001.png")),
    tuple(range(23)),
    synthia_classes,
    save_deep,
)
CITYSCAPES_SOURCE = Domain(_TARGET_CITIES[:2], tuple(range(34)), cityscapes_train_ids)

PAIRS = {
    "gta5_to_cityscapes": (GTA5, Domain(_TARGET_CITIES, tuple(range(34)), cityscapes_train_ids)),
    "synthia_to_cityscapes": (SYNTHIA, Domain(_TARGET_CITIES, tuple(range(34)), sixteen_of_nineteen)),
    "cityscapes_to_acdc": (
        CITYSCAPES_SOURCE,
        Domain(
            (
                _drive("fog", "train", "GOPR0475", 41),
                _drive("rain", "train", "GOPR0400", 7),
                _drive("snow", "val", "GOPR0122", 3),
            ),
            _TRAIN_IDS,
            unchanged,
        ),
    ),
    "cityscapes_to_dark_zurich": (
        CITYSCAPES_SOURCE,
        Domain(
            tuple(
                (image.replace("night/" + part, part + "/night"), mask.replace("night/" + part, part + "/night"))
                for part, frame in (("train", 1), ("train", 2), ("val", 321))
                for image, mask in [_drive("night", part, "GOPR0356", frame)]
            ),
            _TRAIN_IDS,
            unchanged,
        ),
    ),
}
