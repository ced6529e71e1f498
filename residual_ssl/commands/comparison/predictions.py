"""Predictions with their truth, read batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from residual_ssl.commands.comparison.saved import SavedArray
from residual_ssl.errors import InvalidInputError
from residual_ssl.selection import from_probabilities

_BATCH, _BATCH_WITHOUT_SPACE = 16, 1024


class PredictionBatch(NamedTuple):
    """Logits and second prediction ``(B, K, *S)``, labels int64 and valid bool ``(B, *S)``; None for none."""

    logits: Tensor
    labels: Tensor
    valid: Tensor | None
    second: Tensor | None


@dataclass(frozen=True)
class Predictions:
    """Logits with the truth.

    Args:
        logits: floating ``(N, K, *S)``.
        labels: integer ``(N, *S)``, class ids in [0, K) or ``ignore_index``.
        valid: bool, or integers 0 and 1, ``(N, *S)``: the points to judge; None for all.
        second: another model's or view's logits of the same points, of the shape of ``logits``; None for none.
        ignore_index: id of points without a known label.
        probabilities: whether ``logits`` and ``second`` are probabilities; batches are logits in any case.

    Raises:
        InvalidInputError: with every array that does not fit the logits.
    """

    logits: SavedArray
    labels: SavedArray
    valid: SavedArray | None = None
    second: SavedArray | None = None
    ignore_index: int = 255
    probabilities: bool = False

    def __post_init__(self) -> None:
        logits = self.logits
        if len(logits.shape) < 2 or logits.shape[1] < 2:
            raise InvalidInputError(
                f"{logits.name}: got shape {logits.shape}{logits.place}, expected (N, K, *S) with K ≥ 2 classes in "
                "dimension 1"
            )
        points = (logits.shape[0], *logits.shape[2:])
        faults = [
            f"{array.name}: got shape {array.shape}{array.place}, expected {expected}, as {logits.name} are "
            f"{logits.shape}{logits.place}"
            for array, expected in ((self.labels, points), (self.valid, points), (self.second, logits.shape))
            if array is not None and array.shape != expected
        ]
        if faults and len(logits.shape) > 2 and self.labels.shape == logits.shape[:-1]:
            faults = [
                f"{logits.name}: got shape {logits.shape}{logits.place}, with the classes in the last dimension; "
            ]
            faults[0] += "expected (N, K, *S), with the classes in dimension 1: move them, np.moveaxis(logits, -1, 1)"
        if faults:
            raise InvalidInputError("\n".join(faults))

    @property
    def num_classes(self) -> int:
        """K."""
        return self.logits.shape[1]

    @property
    def default_batch(self) -> int:
        """Samples a batch: 16; 1024 where samples are single points."""
        return _BATCH if len(self.logits.shape) > 2 else _BATCH_WITHOUT_SPACE

    def batches(self, size: int, device: torch.device) -> Iterator[PredictionBatch]:
        """Batches of ``size`` samples, in order.

        Raises:
            InvalidInputError: logits or labels of another kind of number; labels outside [0, K).
        """
        for start in range(0, len(self.logits), size):
            part = slice(start, start + size)
            valid = None if self.valid is None else self.valid[part] != 0
            batch = PredictionBatch(
                self._floating(self.logits, part),
                self._labels(part),
                valid,
                None if self.second is None else self._floating(self.second, part),
            )
            yield PredictionBatch(*(None if values is None else values.to(device) for values in batch))  # type: ignore[arg-type]

    def _floating(self, array: SavedArray, part: slice) -> Tensor:
        values = array[part]
        if not values.is_floating_point():
            raise InvalidInputError(f"{array.name}: got {values.dtype}{array.place}, expected floating numbers")
        return from_probabilities(values) if self.probabilities else values

    def _labels(self, part: slice) -> Tensor:
        array, labels = self.labels, self.labels[part]
        if labels.dtype != torch.int64:
            raise InvalidInputError(f"{array.name}: got {labels.dtype}{array.place}, expected integer class ids")
        strange = ((labels < 0) | (labels >= self.num_classes)) & (labels != self.ignore_index)
        if strange.any():
            sample = part.start + int(strange.nonzero()[0, 0])
            raise InvalidInputError(
                f"{array.name}: got class id {int(labels[strange][0])} in sample {sample}{array.place}, expected ids "
                f"in [0, {self.num_classes}), as {self.logits.name} have {self.num_classes} classes, or the ignore "
                f"index {self.ignore_index}"
            )
        return labels
