"""The entries of a batch that an image and its mask become."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from residual_ssl.data import Sample, StoredSample
from residual_ssl.errors import DataError
from residual_ssl.task import Batch
from residual_ssl.tasks.segmentation.geometry import WeakGeometry
from residual_ssl.tasks.segmentation.inference import centered

#: ``regions(image, name)`` proposes regions, int64 ``(H, W)``, of an image uint8 ``(3, H, W)``.
Regions = Callable[[Tensor, str], Tensor]

# Bits of a class id and of a weight where they are packed in one number, below a region.
_LABEL_BITS, _WEIGHT_BITS = 16, 8
_LABELS, _WEIGHTS = (1 << _LABEL_BITS) - 1, (1 << _WEIGHT_BITS) - 1


def labelled_entries(sample: Sample, generator: torch.Generator, geometry: WeakGeometry, ignore_index: int) -> Batch:
    """``input`` float32 ``(C, H, W)`` in [0, 1] and ``target`` int64 ``(H, W)``, under weak geometry.

    Raises:
        DataError: a sample without a mask.
    """
    image, mask, valid = geometry(sample.image, sample.mask, generator)
    if mask is None:
        raise DataError(
            f"{sample.name}: is in the labelled set and has no mask; give one, or move it to the unlabelled"
        )
    return {"input": image, "target": mask.where(valid, ignore_index)}


def unlabelled_entries(
    sample: Sample | StoredSample,
    generator: torch.Generator,
    geometry: WeakGeometry,
    ignore_index: int,
    regions: Regions | None = None,
) -> Batch:
    """``input``, ``valid`` bool ``(H, W)`` and, of a sample with a mask (for diagnostics only), ``truth``.

    Of a sample with stored labels also ``stored``, float32 ``(2, H, W)``: class ids, and weights in [0, 1]. Where
    regions are proposed also ``regions``, int64 ``(H, W)``.
    """
    proposed = None if regions is None else regions(sample.image, sample.name)
    if isinstance(sample, StoredSample):
        points = packed_points(sample.pseudo_label, sample.weight, proposed)
    else:
        points = packed_points(sample.mask, None, proposed)
    image, points, valid = geometry(sample.image, points, generator)
    entries = {"input": image, "valid": valid}
    if points is None:
        return entries
    if proposed is not None:
        entries["regions"] = regions_entry(points).where(valid, -1)
    if isinstance(sample, StoredSample):
        entries["stored"] = stored_entry(points, valid)
    elif sample.mask is not None:
        entries["truth"] = label_entry(points).where(valid, ignore_index)
    return entries


def packed_points(label: Tensor | None, weight: Tensor | None = None, regions: Tensor | None = None) -> Tensor | None:
    """What is known of points ``(H, W)`` as one map, so that it moves together; None where nothing is.

    Args:
        label: class ids of 16 bits.
        weight: uint8.
        regions: ids from -1 on.
    """
    parts = [
        *([] if label is None else [label & _LABELS]),
        *([] if weight is None else [weight.long() << _LABEL_BITS]),
        *([] if regions is None else [regions + 1 << _LABEL_BITS + _WEIGHT_BITS]),
    ]
    return torch.stack(parts).sum(0) if parts else None


def label_entry(packed: Tensor) -> Tensor:
    """The class ids of a map as of :func:`packed_points`, int64; negative ones come back as they were."""
    label = packed & _LABELS
    return label - (label >> _LABEL_BITS - 1 << _LABEL_BITS)


def stored_entry(packed: Tensor, valid: Tensor) -> Tensor:
    """The entry ``stored`` of a map as of :func:`packed_points` that was moved; float32 ``(2, H, W)``."""
    weight = (packed >> _LABEL_BITS & _WEIGHTS) / _WEIGHTS
    return torch.stack([label_entry(packed).float(), weight * valid])


def regions_entry(packed: Tensor) -> Tensor:
    """The regions of a map as of :func:`packed_points`; -1 for none."""
    return (packed >> _LABEL_BITS + _WEIGHT_BITS) - 1


def evaluation_entries(sample: Sample, crop: tuple[int, int] | None) -> Batch:
    """``input`` and ``target`` without augmentation.

    Args:
        sample: with a mask.
        crop: (height, width) of the centre, the only part that is judged then; None for all of the image.

    Raises:
        DataError: a sample without a mask.
    """
    if sample.mask is None:
        raise DataError(f"{sample.name}: is in the validation set and has no mask; evaluation needs one")
    image, target = sample.image, sample.mask
    if crop is not None:
        image, target = centered(image, crop), centered(target, crop)
    return {"input": as_input(image), "target": target}


def as_input(image: Tensor) -> Tensor:
    """An image, uint8 or floating in [0, 1], as float32 in [0, 1]."""
    return image.float() / 255 if image.dtype == torch.uint8 else image.float()
