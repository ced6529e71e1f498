"""The entries of a batch that an image and its mask become."""

from __future__ import annotations

import torch

from residual_ssl.data import Sample, StoredSample
from residual_ssl.errors import DataError
from residual_ssl.task import Batch
from residual_ssl.tasks.segmentation.geometry import WeakGeometry
from residual_ssl.tasks.segmentation.inference import centered

# Bits of a class id where a weight is packed above it.
_LABEL_BITS = 16


def labelled_entries(sample: Sample, generator: torch.Generator, geometry: WeakGeometry, ignore_index: int) -> Batch:
    """``input`` float32 ``(3, H, W)`` in [0, 1] and ``target`` int64 ``(H, W)``, under weak geometry.

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
        # As one map, so that label and weight move together.
        both = sample.pseudo_label | sample.weight.long() << _LABEL_BITS
        image, both_moved, valid = geometry(sample.image, both, generator)
        assert both_moved is not None
        label, weight = both_moved & (1 << _LABEL_BITS) - 1, (both_moved >> _LABEL_BITS) / 255
        return {"input": image, "valid": valid, "stored": torch.stack([label.float(), weight * valid])}
    image, mask, valid = geometry(sample.image, sample.mask, generator)
    entries = {"input": image, "valid": valid}
    return entries if mask is None else {**entries, "truth": mask.where(valid, ignore_index)}


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
    return {"input": image.float() / 255, "target": target}
