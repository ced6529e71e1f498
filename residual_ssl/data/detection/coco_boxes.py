"""Boxes in COCO's format: a JSON file of images, annotations and categories beside folders of images."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from residual_ssl.data.detection.box_samples import BoxSample
from residual_ssl.data.images import read_image
from residual_ssl.data.segmentation.listing import IMAGE_SUFFIXES
from residual_ssl.data.splits.lists import check_disjoint, draw_labelled, few, read_list
from residual_ssl.errors import ConfigError, DataError, MissingDataError


class CocoSubset:
    """Images of a COCO file with their boxes, by position.

    Args:
        folder: of the images; ``file_name`` may hold folders below it.
        annotations: the JSON file; None for images alone, those of the folder.
        classes: names of the categories that count, in the order of their ids from 0.
        names: ``file_name`` of the images to take, in this order; None for all.
        known: False: the boxes are not told.

    Raises:
        MissingDataError: no such file or folder.
        DataError: no JSON, or not COCO's; a box outside its image or without area, of an unknown image or category.
        ConfigError: classes that are no categories of the file.
    """

    def __init__(
        self,
        folder: Path,
        annotations: Path | None,
        classes: Sequence[str],
        names: Sequence[str] | None = None,
        known: bool = True,
    ) -> None:
        if not folder.is_dir():
            raise MissingDataError(f"{folder}: no such folder of images; set dataset.root, or the subset's images")
        self.folder = folder
        self.known = known and annotations is not None
        self._boxes: dict[str, list[tuple[list[float], int, bool]]] = {}
        if annotations is None:
            found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
            self._boxes = {path.relative_to(folder).as_posix(): [] for path in found}
        else:
            self._boxes = read_boxes(annotations, classes)
        if names is not None and (strange := sorted(set(names) - set(self._boxes))):
            raise DataError(f"{few(strange)}: not among the images of {annotations or folder}; mend the split list")
        self.names = sorted(self._boxes) if names is None else list(names)

    @property
    def most(self) -> int:
        """The largest number of boxes of an image."""
        return max((len(self._boxes[name]) for name in self.names), default=0)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> BoxSample:
        name = self.names[index]
        image = read_image(self.folder / name)
        if not self.known:
            return BoxSample(image, None, None, None, name)
        boxes, classes, crowd = zip(*self._boxes[name], strict=True) if self._boxes[name] else ((), (), ())
        corners = torch.tensor(boxes, dtype=torch.float32).view(-1, 4)
        height, width = image.shape[1:]
        if len(corners) and (corners[:, 2:].amax(0) > torch.tensor([width + 1.0, height + 1.0])).any():
            raise DataError(
                f"{self.folder / name}: is {width}×{height} (width×height), and a box reaches to "
                f"{tuple(corners[:, 2:].amax(0).tolist())}; was the image resized after it was annotated?",
                "size",
            )
        corners = torch.minimum(corners, torch.tensor([width, height, width, height], dtype=torch.float32))
        return BoxSample(
            image, corners, torch.tensor(classes, dtype=torch.int64), torch.tensor(crowd, dtype=torch.bool), name
        )


class CocoBoxes:
    """A data set in COCO's format, as a :class:`~residual_ssl.data.DetectionSource`.

    Args:
        root: folder that all other paths start from.
        classes: names of the categories that count, in the order of their ids.
        train, validation: each ``{images: folder, annotations: JSON file}``.
        labelled: number of training images to draw, ``"all"``, or a text file that lists them by ``file_name``.
        unlabelled: a folder of images without boxes, in the place of all other training images; None for these.
        unlabelled_truth: tell the boxes of the other training images, to measure purity and never to learn.
        seed: of the draw.

    Raises:
        MissingDataError, DataError, ConfigError: as of :class:`CocoSubset`; an image in two subsets.

    Source: the COCO data format, https://cocodataset.org/#format-data. COCO itself has ``train2017`` with
    ``annotations/instances_train2017.json``; exports of annotation tools have ``train`` with
    ``train/_annotations.coco.json``.
    """

    def __init__(
        self,
        root: str | Path,
        classes: Sequence[str],
        train: Mapping[str, str],
        validation: Mapping[str, str],
        labelled: int | str,
        unlabelled: str | None = None,
        unlabelled_truth: bool = False,
        seed: int = 0,
    ) -> None:
        self.classes = tuple(classes)
        root = Path(root)
        images, annotations = _paths(root, "train", train)
        everything = CocoSubset(images, annotations, self.classes)
        if labelled == "all":
            names = everything.names
        elif isinstance(labelled, str):
            listed = Path(labelled) if Path(labelled).is_file() else root / labelled
            names = [entry.image for entry in read_list(listed)]
        else:
            names = draw_labelled(everything.names, labelled, seed)
        others = sorted(set(everything.names) - set(names))
        self.labelled = CocoSubset(images, annotations, self.classes, names)
        if unlabelled is None:
            self.unlabelled = CocoSubset(images, annotations, self.classes, others, known=unlabelled_truth)
        else:
            self.unlabelled = CocoSubset(root / unlabelled, None, self.classes)
        self.validation = CocoSubset(*_paths(root, "validation", validation), self.classes)
        if self.validation.folder == images:
            both = [("the training set", everything.names), ("the validation set", self.validation.names)]
            check_disjoint(both, "give each image to one of them")

    @property
    def most(self) -> int:
        """The largest number of boxes of an image."""
        return max(self.labelled.most, self.unlabelled.most, self.validation.most)


def read_boxes(annotations: Path, classes: Sequence[str]) -> dict[str, list[tuple[list[float], int, bool]]]:
    """The objects of each image of a COCO file by ``file_name``: corners in pixels, class, whether it is a crowd.

    Objects of categories that do not count are left out.
    """
    whole = _json(annotations)
    ids = {name: position for position, name in enumerate(classes)}
    categories = {category["id"]: str(category["name"]) for category in whole["categories"]}
    if strange := [name for name in classes if name not in categories.values()]:
        known = few(sorted(categories.values()), 30)
        raise ConfigError(f"classes: {few(strange)} are no categories of {annotations}, which has {known}")
    names = {image["id"]: str(image["file_name"]).replace("\\", "/") for image in whole["images"]}
    for name in names.values():
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise DataError(f"{annotations}: the image {name!r} lies outside the folder of images")
    found: dict[str, list[tuple[list[float], int, bool]]] = defaultdict(list, {name: [] for name in names.values()})
    for annotation in whole["annotations"]:
        image, category, box = annotation.get("image_id"), annotation.get("category_id"), annotation.get("bbox")
        which = f"{annotations}: annotation {annotation.get('id')}"
        if image not in names or category not in categories:
            raise DataError(f"{which} is of image {image!r} and category {category!r}, which the file does not list")
        if not (isinstance(box, list) and len(box) == 4 and all(_number(side) for side in box)):
            raise DataError(f"{which}: got bbox {box!r}, expected [left, top, width, height] in pixels")
        left, top, width, height = (float(side) for side in box)
        if left < -1 or top < -1 or width <= 0 or height <= 0:
            raise DataError(f"{which}: got bbox {box}, expected left, top ≥ 0 and width, height > 0; remove or mend it")
        if categories[category] in ids:
            corners = [max(left, 0.0), max(top, 0.0), left + width, top + height]
            found[names[image]].append((corners, ids[categories[category]], bool(annotation.get("iscrowd"))))
    return dict(found)


def _json(path: Path) -> dict[str, Any]:
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingDataError(f"{path}: no such file of annotations; set the subset's annotations") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON, {error}") from error
    parts = {"images": ("id", "file_name"), "annotations": (), "categories": ("id", "name")}
    for part, keys in parts.items():
        rows = whole.get(part) if isinstance(whole, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) and set(keys) <= set(row) for row in rows):
            raise DataError(f"{path}: expected COCO's JSON, with {', '.join(parts)}; {part} are missing or incomplete")
    return whole  # type: ignore[no-any-return]


def _number(side: Any) -> bool:
    return isinstance(side, int | float) and not isinstance(side, bool) and math.isfinite(side)


def _paths(root: Path, subset: str, given: Mapping[str, str]) -> tuple[Path, Path]:
    if set(given) != {"images", "annotations"}:
        raise ConfigError(f"{subset}: got {dict(given)}, expected images: FOLDER and annotations: FILE")
    return root / given["images"], root / given["annotations"]
