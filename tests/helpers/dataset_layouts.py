"""The published data sets in their original layouts: three pairs each, made here or linked to real ones."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Ids = NDArray[np.int64]

# Ids of the 19 evaluated classes, in the order of their train ids, as printed by the Cityscapes scripts.
CITYSCAPES_IDS = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
# The ten category ids below 91 that COCO does not use.
COCO_GAPS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}


def unchanged(raw: Ids) -> Ids:
    return raw


def cityscapes_train_ids(raw: Ids) -> Ids:
    return np.where(np.isin(raw, CITYSCAPES_IDS), np.searchsorted(CITYSCAPES_IDS, raw), 255)


def coco_things(raw: Ids) -> Ids:
    """The rank of a thing's category id among those in use, 0 for stuff; the file holds category ids less one."""
    category = raw + 1
    rank = category - sum((category > gap).astype(np.int64) for gap in COCO_GAPS)
    return np.where(raw == 255, 255, np.where(category <= 90, rank, 0))


def ade_classes(raw: Ids) -> Ids:
    return np.where(raw == 0, 255, raw - 1)


@dataclass(frozen=True)
class Layout:
    """A layout with three images: labelled, unlabelled (its mask is absent) and for validation.

    Attributes:
        dataset: name of the configuration.
        pairs: (image, mask) below the root.
        real: (image, mask) below the folder of real samples, in the same order.
        raw: ids that mask files may hold.
        classes: class ids of raw ids, by the definition of the data set.
        listed: the mask as the published lists spell it.
    """

    dataset: str
    pairs: tuple[tuple[str, str], ...]
    real: tuple[tuple[str, str], ...]
    raw: tuple[int, ...]
    classes: Callable[[Ids], Ids]
    listed: Callable[[str], str] = str

    def make(self, root: Path) -> list[str]:
        """Random images, whose colours follow from the class, under ``root``; overrides that choose them."""
        rng = np.random.default_rng(0)
        for index, (image, mask) in enumerate(self.pairs):
            ids = rng.choice(np.array(self.raw, np.uint8), (5, 6)).repeat(8, 0).repeat(8, 1)
            noise = rng.integers(0, 60, (*ids.shape, 3))
            self._save(root / image, (ids[..., None] // 2 + noise).astype(np.uint8))
            if index != 1:
                self._save(root / mask, ids)
        return self._lists(root)

    def link(self, root: Path, samples: Path) -> list[str]:
        """Real pairs linked to their places under ``root``; overrides that choose them."""
        for index, (names, sources) in enumerate(zip(self.pairs, self.real, strict=True)):
            for name, source in zip(names[: 1 if index == 1 else 2], sources, strict=False):
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).symlink_to(samples / source)
        return self._lists(root)

    def _lists(self, root: Path) -> list[str]:
        lines = [f"{image} {self.listed(mask)}\n" for image, mask in self.pairs]
        folder = root / "lists" / "1_16"
        folder.mkdir(parents=True)
        (folder / "labeled.txt").write_text(lines[0])
        (folder / "unlabeled.txt").write_text(lines[1])
        (root / "lists" / "train_aug.txt").write_text(lines[0] + lines[1])
        (root / "lists" / "val.txt").write_text(lines[2])
        return [
            *(f"dataset={self.dataset}", f"dataset.root={root}", "dataset.split=1_16"),
            f"dataset.splits={root / 'lists'}",
        ]

    @staticmethod
    def _save(path: Path, pixels: NDArray[np.uint8]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


def _voc(name: str) -> tuple[str, str]:
    return f"JPEGImages/{name}.jpg", f"SegmentationClass/{name}.png"


def _city(part: str, city: str, frame: int) -> tuple[str, str]:
    name = f"{city}_{frame:06d}_000019"
    return f"leftImg8bit/{part}/{city}/{name}_leftImg8bit.png", f"gtFine/{part}/{city}/{name}_gtFine_labelIds.png"


def _coco(part: str, name: str, masks: str) -> tuple[str, str]:
    return f"{part}2017/{name}.jpg", f"{masks}/{name}.png"


def _coco_sample(part: str, name: str) -> tuple[str, str]:
    return f"coco_stuff/{part}_img/{name}.jpg", f"coco_stuff/{part}_label/{name}.png"


def _ade(part: str, name: str) -> tuple[str, str]:
    return f"images/{part}/{name}.jpg", f"annotations/{part}/{name}.png"


def _below(folder: str, *pairs: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((f"{folder}/{image}", f"{folder}/{mask}") for image, mask in pairs)


_COCO_REAL = (
    _coco_sample("train", "000000017914"),
    _coco_sample("train", "000000350505"),
    _coco_sample("val", "000000000139"),
)
_COCO_TRAIN, _COCO_VAL = ("000000017914", "000000350505"), "000000000139"

LAYOUTS = (
    Layout(
        "pascal",
        pairs=(_voc("2011_000003"), _voc("2011_000006"), _voc("2011_000025")),
        real=_below("voc2012", _voc("2011_000003"), _voc("2011_000006"), _voc("2011_000025")),
        raw=(*range(21), 255),
        classes=unchanged,
    ),
    Layout(
        "cityscapes",
        pairs=(_city("train", "aachen", 0), _city("train", "aachen", 1), _city("val", "frankfurt", 2)),
        real=_below("cityscapes", *(_city("train", "aachen", frame) for frame in range(3))),
        raw=tuple(range(34)),
        classes=cityscapes_train_ids,
        listed=lambda mask: mask.replace("labelIds", "labelTrainIds"),
    ),
    Layout(
        "coco_stuff",
        pairs=(
            *(_coco("train", name, "stuffthingmaps/train2017") for name in _COCO_TRAIN),
            _coco("val", _COCO_VAL, "stuffthingmaps/val2017"),
        ),
        real=_COCO_REAL,
        raw=(*(i - 1 for i in range(1, 183) if i not in COCO_GAPS | {91}), 255),
        classes=coco_things,
        listed=lambda mask: f"masks/{Path(mask).name}",
    ),
    Layout(
        "coco",
        pairs=(
            *(_coco("train", name, "masks") for name in _COCO_TRAIN),
            _coco("val", _COCO_VAL, "masks"),
        ),
        real=(),  # these masks are made from COCO's, and not among the samples
        raw=(*range(81), 255),
        classes=unchanged,
    ),
    Layout(
        "ade20k",
        pairs=(_ade("training", "a"), _ade("training", "b"), _ade("validation", "c")),
        real=_below("ade20k", *(_ade("validation", f"ADE_val_0000000{i}") for i in (1, 2, 3))),
        raw=tuple(range(151)),
        classes=ade_classes,
    ),
)
