"""Predictions with known labels, drawn for a selector to learn from."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.selection.features import check_prediction
from residual_ssl.selection.points.point_features import check_second, point_features

# Pseudo-counts that draw the accuracy of a rarely predicted class towards that of all points.
_CLASS_PRIOR_POINTS = 20
_POINTS_AT_ONCE = 2**20


class KnownPoints(NamedTuple):
    """Points whose correctness is known, on the CPU.

    Attributes:
        values: their features, float64 ``(N, D)``, see :func:`point_features`.
        label: predicted class, int64 ``(N,)``.
        right: bool ``(N,)``, whether it is the true one; both occur.
        class_log_odds: log-odds that a prediction of each class is right, over all points with a label, not the drawn
            ones alone; float64 ``(K,)``. Rare classes are drawn towards the accuracy of all.
    """

    values: Tensor
    label: Tensor
    right: Tensor
    class_log_odds: Tensor


def draw_known_points(
    logits: Tensor,
    labels: Tensor,
    valid: Tensor | None,
    second: Tensor | None,
    *,
    ignore_index: int,
    window: int,
    max_points: int,
    generator: torch.Generator,
) -> KnownPoints:
    """Draw up to ``max_points`` of the points with a label, all with equal chance.

    Args:
        logits, valid, second, window: as in :func:`point_features`.
        labels: integer ``(B, *S)``, class ids in [0, K) or ``ignore_index``.
        ignore_index: id of points without a label.
        max_points: largest number of points drawn.
        generator: of the draw, on the CPU.

    Raises:
        InvalidInputError: tensors that do not fit each other, ids outside [0, K), all predictions right or all wrong.
    """
    # Before anything is cut into parts, so that messages show what the caller gave.
    check_prediction(logits, valid)
    if second is not None:
        check_second(second, logits)
    check_labels(labels, logits, ignore_index)
    classes = logits.shape[1]
    counts = torch.zeros(2, classes, dtype=torch.float64)
    drawn: list[tuple[Tensor, ...]] = []
    # In parts, as the features take more memory than the logits of many images.
    step = max(1, _POINTS_AT_ONCE // max(1, logits.shape[2:].numel()))
    for start in range(0, max(1, len(logits)), step):
        part = slice(start, start + step)
        of_valid, of_second = (None if tensor is None else tensor[part] for tensor in (valid, second))
        values, points = point_features(logits[part], of_valid, of_second, window=window)
        known = points.valid & (labels[part] != ignore_index)
        label, right = points.label[known].cpu(), (points.label == labels[part])[known].cpu()
        counts += torch.stack([torch.bincount(of, minlength=classes) for of in (label, label[right])])
        # Every point, known or not, gets a random key; the smallest keys are drawn.
        key = torch.rand(known.shape, generator=generator, dtype=torch.float64)[known.cpu()]
        drawn.append(_smallest(max_points, key, values[known].cpu().double(), label, right))
    _, values, label, right = _smallest(max_points, *(torch.cat(column) for column in zip(*drawn, strict=True)))
    if not right.any() or right.all():
        raise InvalidInputError(
            f"labels: got {int(right.sum())} right predictions of {len(right)} points with a label, expected right and "
            "wrong ones to tell apart; fit on more labelled samples, none that the model was trained on"
        )
    accuracy = counts[1].sum() / counts[0].sum()
    shrunk = (counts[1] + _CLASS_PRIOR_POINTS * accuracy) / (counts[0] + _CLASS_PRIOR_POINTS)
    return KnownPoints(values, label, right, shrunk.logit())


def _smallest(count: int, key: Tensor, *columns: Tensor) -> tuple[Tensor, ...]:
    first = key.topk(min(count, len(key)), largest=False).indices
    return tuple(column[first] for column in (key, *columns))


def check_labels(labels: Tensor, logits: Tensor, ignore_index: int, *, outside: bool = False) -> None:
    """Refuse labels ``(B, *S)`` that are neither class ids in [0, K) nor ``ignore_index``, nor -1 with ``outside``."""
    shape = (logits.shape[0], *logits.shape[2:])
    if tuple(labels.shape) != shape or labels.is_floating_point() or labels.dtype == torch.bool:
        raise InvalidInputError(
            f"labels: got {labels.dtype} of shape {tuple(labels.shape)}, expected integer class ids of shape {shape}, "
            f"as logits are {tuple(logits.shape)}"
        )
    strange = labels[((labels < -outside) | (labels >= logits.shape[1])) & (labels != ignore_index)]
    if strange.numel():
        raise InvalidInputError(
            f"labels: got class id {int(strange[0])}, expected ids in [0, {logits.shape[1]}), as logits have "
            f"{logits.shape[1]} classes, or ignore_index {ignore_index}"
        )
