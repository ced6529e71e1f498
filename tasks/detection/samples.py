"""The entries of a batch that an image and its boxes become."""

from __future__ import annotations

import torch
from torch import Tensor

from residual_ssl.data import BoxSample
from residual_ssl.errors import DataError
from residual_ssl.task import Batch
from residual_ssl.tasks.detection.locations import Locations, centerness
from residual_ssl.tasks.segmentation.geometry import Placement, WeakGeometry

_SMALLEST = 1.0  # side in pixels below which what is left of a box in a crop is no object
_SUREST = 6.0  # logit of the largest centerness that is taught


def labelled_entries(
    sample: BoxSample, generator: torch.Generator, geometry: WeakGeometry, locations: Locations, ignore_index: int
) -> Batch:
    """``input`` ``(3, H, W)`` in [0, 1], ``target`` int64 ``(N,)`` and ``values`` ``(5, N)``, under weak geometry.

    Raises:
        DataError: a sample without boxes.
    """
    pixels, valid, placement = geometry.placed(sample.image, generator)
    target, values = _targets(_checked(sample, "labelled"), placement, valid, locations, ignore_index)
    return {"input": pixels, "target": target, "values": values}


def unlabelled_entries(
    sample: BoxSample, generator: torch.Generator, geometry: WeakGeometry, locations: Locations, ignore_index: int
) -> Batch:
    """``input``, ``valid`` bool ``(N,)`` and, of a sample whose boxes are known (for diagnostics only), ``truth``."""
    pixels, valid, placement = geometry.placed(sample.image, generator)
    entries = {"input": pixels, "valid": locations.at(valid)}
    if sample.boxes is None:
        return entries
    return {**entries, "truth": _targets(sample, placement, valid, locations, ignore_index)[0]}


def evaluation_entries(sample: BoxSample, most: int, locations: Locations, ignore_index: int) -> Batch:
    """``input``, ``target`` and ``values`` without augmentation, and ``boxes`` ``(most, 6)``, see the metric.

    Raises:
        DataError: a sample without boxes.
    """
    boxes, classes, crowd = _known(_checked(sample, "validation"))
    pixels = sample.image.float() / 255
    size = (pixels.shape[1], pixels.shape[2])
    whole = Placement(size, size, (slice(0, size[0]), slice(0, size[1])), (0, 0, 0, 0), False)
    target, values = _targets(sample, whole, torch.ones(size, dtype=torch.bool), locations, ignore_index)
    objects = torch.full((most, 6), -1.0)
    objects[: len(boxes)] = torch.cat([boxes, classes.unsqueeze(1) + 1, crowd.unsqueeze(1)], 1)
    return {"input": pixels, "target": target, "values": values, "boxes": objects}


def _targets(
    sample: BoxSample, placement: Placement, valid: Tensor, locations: Locations, ignore_index: int
) -> tuple[Tensor, Tensor]:
    """Class ids ``(N,)`` and values ``(5, N)`` of the places of a crop."""
    boxes, classes, crowd = _known(sample)
    height, width = valid.shape
    corners = placement.points(boxes.view(-1, 2, 2))
    boxes = torch.cat([corners.amin(1), corners.amax(1)], 1)
    boxes = torch.minimum(boxes.clamp(min=0), torch.tensor([width, height, width, height], dtype=boxes.dtype))
    left = ((boxes[:, 2:] - boxes[:, :2]) > _SMALLEST).all(1)
    size, centers = (height, width), locations.centers((height, width))
    objects, ids = boxes[left & ~crowd], classes[left & ~crowd]
    found = locations.objects(objects, size)
    ignored = ~locations.at(valid)
    for box in boxes[left & crowd]:
        ignored |= ((centers > box[:2]) & (centers < box[2:])).all(1) & (found < 0)
    values = torch.zeros(5, len(centers))
    target = torch.zeros(len(centers), dtype=torch.int64)
    if len(objects):
        own = objects[found.clamp(min=0)]
        middle = torch.logit(centerness(centers, own), eps=1e-6).clamp(-_SUREST, _SUREST)
        values = torch.cat([own, middle.unsqueeze(1)], 1).T.where(found >= 0, 0.0).contiguous()
        target = (ids[found.clamp(min=0)] + 1).where(found >= 0, 0)
    return target.masked_fill(ignored, ignore_index), values


def _known(sample: BoxSample) -> tuple[Tensor, Tensor, Tensor]:
    assert sample.boxes is not None
    assert sample.classes is not None
    assert sample.crowd is not None
    return sample.boxes, sample.classes, sample.crowd


def _checked(sample: BoxSample, subset: str) -> BoxSample:
    if sample.boxes is None or sample.classes is None or sample.crowd is None:
        raise DataError(f"{sample.name}: is in the {subset} set and its boxes are not known; give them, or move it")
    return sample
