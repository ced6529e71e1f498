"""The entries of a batch that an image and its mask become."""

from __future__ import annotations

import torch
from torch import Tensor

from residual_ssl.data import Sample, StoredSample
from residual_ssl.errors import DataError
from residual_ssl.task import Batch
from residual_ssl.tasks.segmentation.geometry import WeakGeometry
from residual_ssl.tasks.segmentation.inference import centered

# Bits of a class id where a weight is packed above it.
_LABEL_BITS = 16


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
    sample: Sample | StoredSample, generator: torch.Generator, geometry: WeakGeometry, ignore_index: int
) -> Batch:
    """``input``, ``valid`` bool ``(H, W)`` and, of a sample with a mask (for diagnostics only), ``truth``.

    Of a sample with stored labels also ``stored``, float32 ``(2, H, W)``: class ids, and weights in [0, 1].
    """
    if isinstance(sample, StoredSample):
        image, packed, valid = geometry(sample.image, packed_label(sample.pseudo_label, sample.weight), generator)
        assert packed is not None
        return {"input": image, "valid": valid, "stored": stored_entry(packed, valid)}
    image, mask, valid = geometry(sample.image, sample.mask, generator)
    entries = {"input": image, "valid": valid}
    return entries if mask is None else {**entries, "truth": mask.where(valid, ignore_index)}


def packed_label(label: Tensor, weight: Tensor) -> Tensor:
    """Class ids and weights ``(H, W)`` as one map, so that they move together."""
    return label | weight.long() << _LABEL_BITS


def stored_entry(packed: Tensor, valid: Tensor) -> Tensor:
    """The entry ``stored`` of a map as of :func:`packed_label` that was moved; float32 ``(2, H, W)``."""
    label, weight = packed & (1 << _LABEL_BITS) - 1, (packed >> _LABEL_BITS) / 255
    return torch.stack([label.float(), weight * valid])


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
