"""What selectors do first that are given the features of labelled points and of the pool."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from residual_ssl.errors import InvalidInputError, NotFittedError


def labelled_features(
    features: Tensor, labels: Tensor, pool: Tensor, num_classes: int, ignore_index: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Features ``(N, D)`` of the labelled points, their labels ``(N,)``, and features of the pool ``(M, D)``.

    Raises:
        InvalidInputError: no labelled point, class ids outside [0, K), features of the two that differ in length, or
            that are not finite.
    """
    points, others = (rearrange(x, "b d ... -> (b ...) d").float() for x in (features, pool))
    known = labels.flatten() != ignore_index
    points, labels = points[known], labels.flatten()[known]
    if not len(labels):
        raise InvalidInputError("labels: got no labelled point, expected at least one of each class")
    if int(labels.min()) < 0 or int(labels.max()) >= num_classes:
        raise InvalidInputError(
            f"labels: got class ids from {int(labels.min())} to {int(labels.max())}, expected ids in "
            f"[0, {num_classes}) or ignore_index {ignore_index}"
        )
    if points.shape[1] != others.shape[1]:
        raise InvalidInputError(
            f"pool: got {tuple(pool.shape)} beside features {tuple(features.shape)}, expected the same dimension 1"
        )
    if not (points.isfinite().all() and others.isfinite().all()):
        raise InvalidInputError("features, pool: got values that are not finite, expected finite ones")
    return points, labels, others


def points_of(features: Tensor, logits: Tensor, width: int, classes: int) -> Tensor:
    """Features of a batch as rows, float32 or wider ``(B·S, D)``.

    Raises:
        InvalidInputError: features or a number of classes other than those that were fitted.
    """
    expected = (len(logits), width, *logits.shape[2:])
    if tuple(features.shape) != expected or logits.shape[1] != classes:
        raise InvalidInputError(
            f"features: got shape {tuple(features.shape)} beside logits {tuple(logits.shape)}, expected features "
            f"{expected} and {classes} classes, as fit_pool was given"
        )
    rows = rearrange(features.detach(), "b d ... -> (b ...) d")
    return (rows.float() if rows.itemsize < 4 else rows).nan_to_num()


def not_fitted(selector: str) -> NotFittedError:
    """The error of a selector that was not fitted."""
    return NotFittedError(
        f"{selector}: used before fit_pool; give it features of the labelled samples and of the pool, "
        "fit_pool(features, labels, pool, num_classes), or load the state_dict of a fitted one"
    )


def even_sample(rows: Tensor, count: int) -> Tensor:
    """All rows, or an even sample of them where there are more than ``count``."""
    return rows if len(rows) <= count else rows[torch.arange(count, device=rows.device) * len(rows) // count]
