"""The entries of a batch that an image, or a row of features, and its class become."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from residual_ssl.data import ClassifiedSample, StoredSample
from residual_ssl.errors import DataError
from residual_ssl.task import Batch


class WeakAugmentation(Protocol):
    """Makes an input of what a source holds: at random for training, by :meth:`plain` always alike."""

    def __call__(self, image: Tensor, generator: torch.Generator | None = None, /) -> Tensor: ...

    def plain(self, image: Tensor, /) -> Tensor: ...


#: ``target(label)`` gives the class ids ``(*S)`` of what a sample holds as its label, ``ignore_index`` where unknown.
Target = Callable[[Any], Tensor]


def labelled_entries(
    sample: ClassifiedSample, generator: torch.Generator, weak: WeakAugmentation, target: Target = torch.tensor
) -> Batch:
    """``input`` and ``target`` ``(*S)`` under weak augmentation.

    Raises:
        DataError: a sample of no known class.
    """
    return {"input": weak(sample.image, generator), "target": target(_known(sample, "labelled"))}


def unlabelled_entries(
    sample: ClassifiedSample | StoredSample, generator: torch.Generator, weak: WeakAugmentation, truth: Target | None
) -> Batch:
    """``input`` and, where ``truth`` is given, the entry of that name, for diagnostics only.

    Of a sample with a stored label also ``stored``, float32 ``(2,)``: its class id and its weight in [0, 1].
    """
    entries = {"input": weak(sample.image, generator)}
    if isinstance(sample, StoredSample):
        return {**entries, "stored": torch.stack([sample.pseudo_label.float(), sample.weight.float() / 255])}
    return entries if truth is None else {**entries, "truth": truth(sample.label)}


def evaluation_entries(sample: ClassifiedSample, weak: WeakAugmentation, target: Target = torch.tensor) -> Batch:
    """``input`` and ``target`` without augmentation.

    Raises:
        DataError: a sample of no known class.
    """
    return {"input": weak.plain(sample.image), "target": target(_known(sample, "validation"))}


def _known(sample: ClassifiedSample, subset: str) -> Any:
    label: Any = sample.label
    if label is None or (isinstance(label, int) and label < 0):
        raise DataError(f"{sample.name}: is in the {subset} set and is of no known class; give one, or leave it out")
    return label
