"""The entries of a batch that an image, or a row of features, and its class become."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from residual_ssl.data import ClassifiedSample, StoredSample
from residual_ssl.errors import DataError
from residual_ssl.task import Batch


class WeakAugmentation(Protocol):
    """Makes an input of what a source holds: at random for training, by :meth:`plain` always alike."""

    def __call__(self, image: Tensor, generator: torch.Generator | None = None, /) -> Tensor: ...

    def plain(self, image: Tensor, /) -> Tensor: ...


def labelled_entries(sample: ClassifiedSample, generator: torch.Generator, weak: WeakAugmentation) -> Batch:
    """``input`` and ``target`` ``()`` under weak augmentation.

    Raises:
        DataError: a sample of no known class.
    """
    return {"input": weak(sample.image, generator), "target": _target(sample, "labelled")}


def unlabelled_entries(
    sample: ClassifiedSample | StoredSample, generator: torch.Generator, weak: WeakAugmentation, unknown: int | None
) -> Batch:
    """``input`` and ``truth`` ``()``, for diagnostics only: ``unknown`` of no known class, absent if that is None.

    Of a sample with a stored label also ``stored``, float32 ``(2,)``: its class id and its weight in [0, 1].
    """
    entries = {"input": weak(sample.image, generator)}
    if isinstance(sample, StoredSample):
        return {**entries, "stored": torch.stack([sample.pseudo_label.float(), sample.weight.float() / 255])}
    if unknown is None:
        return entries
    return {**entries, "truth": torch.tensor(unknown if sample.label is None else sample.label)}


def evaluation_entries(sample: ClassifiedSample, weak: WeakAugmentation) -> Batch:
    """``input`` and ``target`` without augmentation.

    Raises:
        DataError: a sample of no known class.
    """
    return {"input": weak.plain(sample.image), "target": _target(sample, "validation")}


def _target(sample: ClassifiedSample, subset: str) -> Tensor:
    if sample.label is None or sample.label < 0:
        raise DataError(f"{sample.name}: is in the {subset} set and is of no known class; give one, or leave it out")
    return torch.tensor(sample.label)
