"""Class probabilities of judged points, and sums over points by class or group, without waiting for the device."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from residual_ssl.selection.features import JudgedPoints
from residual_ssl.selection.points.blocks import by_blocks, each_point


def log_probabilities(logits: Tensor, points: JudgedPoints, temperature: float = 1.0) -> Tensor:
    """``log softmax(x/T)``, ``(B, K, *S)``, detached, in the dtype of the confidence; uniform where x is not finite."""
    with torch.autocast(logits.device.type, enabled=False):
        return _log_softmax(logits.detach(), points.finite, temperature)


def log_probability_of(logits: Tensor, points: JudgedPoints, label: Tensor) -> Tensor:
    """:func:`log_probabilities` of one class ``(B, *S)`` for each point, ``(B, *S)``."""

    def of_label(x: Tensor, finite: Tensor, y: Tensor) -> Tensor:
        return _log_softmax(x, finite).gather(1, y.unsqueeze(1)).squeeze(1)

    with torch.autocast(logits.device.type, enabled=False):
        return each_point(of_label, logits.detach(), points.finite, label)


def entropy(logits: Tensor, points: JudgedPoints) -> Tensor:
    """``-Σ p log p``, ``(B, *S)``, detached; log K where a logit is not finite."""

    def of(x: Tensor, finite: Tensor) -> Tensor:
        logs = _log_softmax(x, finite)
        return -(logs.exp() * logs).sum(1)

    with torch.autocast(logits.device.type, enabled=False):
        return each_point(of, logits.detach(), points.finite)


def kullback_leibler(logits: Tensor, points: JudgedPoints, other: Tensor, others: JudgedPoints) -> Tensor:
    """``Σ p log p/q`` of two predictions of the same points, ``(B, *S)``, detached; uniform where not finite."""

    def of(x: Tensor, y: Tensor, x_finite: Tensor, y_finite: Tensor) -> Tensor:
        logs = _log_softmax(x, x_finite)
        return (logs.exp() * (logs - _log_softmax(y, y_finite))).sum(1)

    with torch.autocast(logits.device.type, enabled=False):
        return each_point(of, logits.detach(), other.detach(), points.finite, others.finite)


def mean_probabilities(logits: Tensor, points: JudgedPoints) -> Tensor:
    """Mean class probabilities ``(K,)`` over the valid points, detached; 0 if none is valid."""
    with torch.autocast(logits.device.type, enabled=False):
        parts = [
            (_log_softmax(x, finite).exp_() * valid.unsqueeze(1)).sum((0, 2))
            for x, finite, valid in by_blocks(logits.detach(), points.finite, points.valid)
        ]
        return torch.stack(parts).sum(0) / points.valid.sum().clamp(min=1)


def _log_softmax(x: Tensor, finite: Tensor, temperature: float = 1.0) -> Tensor:
    x = x if x.dtype == torch.float64 else x.float()
    logs = torch.log_softmax(x if temperature == 1 else x / temperature, dim=1)
    return logs.masked_fill_(~finite.unsqueeze(1), -math.log(x.shape[1]))


def class_sums(values: Tensor, label: Tensor, num_classes: int) -> Tensor:
    """Sums of values ``(G, N)`` over the points of each class, ``(G, K)``; labels ``(G, N)``, int64 in [0, K)."""
    return values.new_zeros(values.shape[0], num_classes).scatter_add(1, label, values)


def class_maxima(values: Tensor, label: Tensor, num_classes: int) -> Tensor:
    """Largest of values ≥ 0 ``(G, N)`` over the points of each class, ``(G, K)``; 0 for a class without points."""
    return values.new_zeros(values.shape[0], num_classes).scatter_reduce(1, label, values, "amax")


def grouped(points: Tensor, scope: str) -> Tensor:
    """Points ``(B, *S)`` as ``(groups, points)``: a group for each sample, or one for the batch or a window."""
    return points.reshape(points.shape[0], -1) if scope == "sample" else points.reshape(1, -1)
