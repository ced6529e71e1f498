"""Masks of class ids out of COCO annotations: polygons and run lengths, as annotation tools export them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from residual_ssl.data.spec import default_palette
from residual_ssl.data.splits.lists import few
from residual_ssl.errors import ConfigError, DataError, MissingDataError, MissingPackageError
from residual_ssl.runtime.files import atomic_file

BACKGROUND = "background"
_IGNORED = 255
_MOST_PIXELS = 2**28
_FAR = 10  # sides of an image


@dataclass(frozen=True)
class CocoMasks:
    """What :func:`write_coco_masks` wrote.

    Attributes:
        classes: names, in the order of the ids in the masks; the first is ``"background"``, all that is no object.
        masks: number of masks.
        objects: objects drawn.
        left_out: objects of other categories, which are background.
    """

    classes: tuple[str, ...]
    masks: int
    objects: int
    left_out: int


def write_coco_masks(annotations: str | Path, out: str | Path, *, classes: Sequence[str] = ()) -> CocoMasks:
    """Draw a mask of class ids for every image of a COCO file, ``STEM.png``.

    Smaller objects lie over larger ones; crowds (``iscrowd``) become 255, which means no label. An image without
    objects is background.

    Args:
        annotations: JSON with ``images``, ``annotations`` (``segmentation`` as polygons, or as run lengths, compressed
            or not) and ``categories``.
        out: folder for the masks, made if needed.
        classes: names of the categories that count, in the order of their ids from 1; ``"background"`` may come first.
            Empty for all, in the order of their ids in the file.

    Raises:
        MissingPackageError: pycocotools, which draws polygons, is not installed.
        MissingDataError: no such file.
        DataError: no JSON, or not COCO's; objects without an outline; two images of one name.
        ConfigError: names that are no categories, more than 254 classes.

    Source: the COCO data format, https://cocodataset.org/#format-data.
    """
    whole = _read(Path(annotations))
    categories = {category["id"]: str(category["name"]) for category in whole["categories"]}
    names = [name for name in classes if name != BACKGROUND] or [categories[i] for i in sorted(categories)]
    if strange := sorted(set(names) - set(categories.values())):
        known = few(sorted(categories.values()), 30)
        raise ConfigError(f"classes: {few(strange)} are no categories of {annotations}, which has {known}")
    if len(names) > 254:
        raise ConfigError(f"classes: got {len(names)} of {annotations}, expected at most 254; name those that count")
    ids = {number: names.index(name) + 1 for number, name in categories.items() if name in names}
    by_image: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
    left_out = 0
    for annotation in whole["annotations"]:
        left_out += annotation["category_id"] not in ids
        if annotation["category_id"] in ids:
            by_image[annotation["image_id"]].append(annotation)
    palette = [channel for colour in default_palette(256) for channel in colour]
    palette[-3:] = [255, 255, 255]
    stems: set[str] = set()
    for image in whole["images"]:
        stem = Path(str(image["file_name"]).replace("\\", "/")).stem
        if stem in stems or not stem:
            raise DataError(f"{annotations}: two images are named {stem!r}, expected different names in one folder")
        stems.add(stem)
        mask = Image.fromarray(_drawn(image, by_image[image["id"]], ids, str(annotations)), mode="P")
        mask.putpalette(palette)
        with atomic_file(Path(out) / f"{stem}.png", "mask") as file:
            mask.save(file, format="PNG")
    return CocoMasks((BACKGROUND, *names), len(stems), sum(map(len, by_image.values())), left_out)


def _drawn(
    image: Mapping[str, Any], objects: Sequence[Mapping[str, Any]], ids: Mapping[Any, int], source: str
) -> NDArray[np.uint8]:
    height, width = image["height"], image["width"]
    if not (isinstance(height, int) and isinstance(width, int) and 0 < height * width <= _MOST_PIXELS and height > 0):
        raise DataError(f"{source}: image {image['file_name']!r} is {width}×{height}, expected its size in pixels")
    regions = [(region, one) for one in objects for region in [_region(one, height, width, source)]]
    mask = np.zeros((height, width), np.uint8)
    for region, one in sorted(regions, key=lambda pair: -int(pair[0].sum())):
        mask[region] = _IGNORED if one.get("iscrowd") else ids[one["category_id"]]
    return mask


def _region(annotation: Mapping[str, Any], height: int, width: int, source: str) -> NDArray[np.bool_]:
    """The pixels of an object, bool ``(height, width)``."""
    outline = annotation.get("segmentation")
    try:
        if isinstance(outline, list) and outline:
            return _inside(outline, height, width)
        if isinstance(outline, Mapping):
            if list(outline["size"]) != [height, width]:
                raise ValueError(f"its run lengths are of {outline['size']}, its image of {[height, width]}")
            counts = outline["counts"]
            return _of_runs(counts if isinstance(counts, list) else run_lengths(counts), height, width)
        raise ValueError("it has no segmentation")
    except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
        raise DataError(f"{source}: object {annotation.get('id')} cannot be drawn: {error}") from error


def _inside(polygons: Sequence[Sequence[float]], height: int, width: int) -> NDArray[np.bool_]:
    coder = _coder()
    kept = [np.asarray(polygon, np.float64) for polygon in polygons if len(polygon) >= 6]
    # The code in C believes any number, and takes memory by it.
    if not all(points.ndim == 1 and len(points) % 2 == 0 for points in kept):
        raise ValueError("a polygon is no list of x, y, x, y, …")
    if not all(np.isfinite(points).all() and np.abs(points).max() <= _FAR * max(height, width) for points in kept):
        raise ValueError(f"a polygon lies far outside its image of {width}×{height}")
    if not kept:
        return np.zeros((height, width), bool)
    runs = coder.merge(coder.frPyObjects([points.tolist() for points in kept], height, width))
    return coder.decode(runs).astype(bool)  # type: ignore[no-any-return]


def _of_runs(counts: Sequence[int], height: int, width: int) -> NDArray[np.bool_]:
    """Pixels of run lengths, alternately outside and inside, column by column."""
    runs = np.asarray(counts, np.int64)
    if runs.ndim != 1 or (runs < 0).any() or runs.sum() != height * width:
        raise ValueError(f"its run lengths do not add up to {height * width} pixels")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def run_lengths(text: str) -> list[int]:
    """The run lengths of COCO's compressed form.

    Source: ``rleFrString`` of the COCO API, https://github.com/cocodataset/cocoapi.

    Example:
        >>> run_lengths("52203")
        [5, 2, 2, 2, 5]
    """
    counts: list[int] = []
    value = shift = 0
    for sign in text:
        bits = ord(sign) - 48
        if not 0 <= bits < 64 or shift > 50:
            raise ValueError("its compressed run lengths are damaged")
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value |= -1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("its compressed run lengths are cut off")
    return counts


def _coder() -> Any:
    try:
        from pycocotools import mask
    except ImportError as error:
        raise MissingPackageError("polygons need pycocotools; pip install 'residual-ssl[coco]'") from error
    return mask


def _read(path: Path) -> dict[str, Any]:
    try:
        whole = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise MissingDataError(f"{path}: no such file of annotations") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON, {error}") from error
    found = list(_faults(whole))
    if found:
        raise DataError(f"{path}: is not as COCO's files: {'; '.join(found[:3])}")
    return whole  # type: ignore[no-any-return]


_NEEDED = {
    "images": ("id", "file_name", "height", "width"),
    "annotations": ("image_id", "category_id"),
    "categories": ("id", "name"),
}


def _faults(whole: Any) -> Iterator[str]:
    if not isinstance(whole, Mapping):
        yield f"holds a {type(whole).__name__}, expected images, annotations and categories"
        return
    for part, keys in _NEEDED.items():
        entries = whole.get(part)
        if not isinstance(entries, list):
            yield f"has no list of {part}"
            continue
        bad = [entry for entry in entries if not isinstance(entry, Mapping) or not all(key in entry for key in keys)]
        if bad:
            yield f"{len(bad)} of {part} lack one of {', '.join(keys)}"
