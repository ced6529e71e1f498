"""Class probabilities of judged points, and sums over points by class or group, without waiting for the device."""

from __future__ import annotations

import torch
from torch import Tensor

from residual_ssl.selection.features import JudgedPoints


def log_probabilities(logits: Tensor, points: JudgedPoints, temperature: float = 1.0) -> Tensor:
    """``log softmax(x/T)``, ``(B, K, *S)``, detached, in the dtype of the confidence; uniform where x is not finite."""
    with torch.autocast(logits.device.type, enabled=False):
        x = logits.detach().to(points.confidence.dtype)
        x = torch.where(points.finite.unsqueeze(1), x, torch.zeros_like(x))
        return torch.log_softmax(x / temperature, dim=1)


def mean_probabilities(log_probability: Tensor, valid: Tensor) -> Tensor:
    """Mean ``(K,)`` over the valid points of probabilities given as logarithms ``(B, K, *S)``; 0 if none is valid."""
    masked = torch.where(valid.unsqueeze(1), log_probability.exp(), torch.zeros_like(log_probability))
    return masked.transpose(0, 1).flatten(1).sum(1) / valid.sum().clamp(min=1)


def class_sums(values: Tensor, label: Tensor, num_classes: int) -> Tensor:
    """Sums of values ``(G, N)`` over the points of each class, ``(G, K)``; labels ``(G, N)``, int64 in [0, K)."""
    return values.new_zeros(values.shape[0], num_classes).scatter_add(1, label, values)


def class_maxima(values: Tensor, label: Tensor, num_classes: int) -> Tensor:
    """Largest of values ≥ 0 ``(G, N)`` over the points of each class, ``(G, K)``; 0 for a class without points."""
    return values.new_zeros(values.shape[0], num_classes).scatter_reduce(1, label, values, "amax")


def grouped(points: Tensor, scope: str) -> Tensor:
    """Points ``(B, *S)`` as ``(groups, points)``: a group for each sample, or one for the batch or a window."""
    return points.reshape(points.shape[0], -1) if scope == "sample" else points.reshape(1, -1)
