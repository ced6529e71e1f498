"""Class probabilities of judged points, and sums over points by class or group, without waiting for the device."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from residual_ssl.selection.features import JudgedPoints
from residual_ssl.selection.points.blocks import Part, by_blocks, each_point, exponentials, wide_dtype, work_through


def log_probabilities(logits: Tensor, points: JudgedPoints, temperature: float = 1.0) -> Tensor:
    """``log softmax(x/T)``, ``(B, K, *S)``, detached, in the dtype of the confidence; uniform where x is not finite."""
    with torch.autocast(logits.device.type, enabled=False):
        x = logits.detach().to(wide_dtype(logits))
        logs = torch.log_softmax(x if temperature == 1 else x / temperature, dim=1)
        return logs.masked_fill_(~points.finite.unsqueeze(1), -math.log(x.shape[1]))


def log_probability_of(logits: Tensor, points: JudgedPoints, label: Tensor) -> Tensor:
    """Log-probability of one class ``(B, *S)`` for each point, ``(B, *S)``, detached; ``-log K`` where not valid."""

    def of(x: Tensor, y: Tensor) -> Tensor:
        return exponentials(x)[0].gather(1, y.unsqueeze(1)).squeeze(1)

    with torch.autocast(logits.device.type, enabled=False):
        found = each_point(of, logits, label) + points.confidence.detach().log()
        return torch.where(points.valid, found, -math.log(logits.shape[1]))


def entropy(logits: Tensor, points: JudgedPoints) -> Tensor:
    """``-Σ p log p``, ``(B, *S)``, detached; log K where a point is not valid."""

    def of(x: Tensor) -> Tensor:
        d, e = exponentials(x)
        return d.mul_(e).sum(1) / e.sum(1)

    with torch.autocast(logits.device.type, enabled=False):
        found = -points.confidence.detach().log() - each_point(of, logits)
        return torch.where(points.valid, found, math.log(logits.shape[1]))


def kullback_leibler(logits: Tensor, points: JudgedPoints, other: Tensor, others: JudgedPoints) -> Tensor:
    """``Σ p log p/q`` of two predictions of the same points, ``(B, *S)``, detached; 0 where one is not valid."""

    def of(x: Tensor, y: Tensor) -> Tensor:
        d, e = exponentials(x)
        return d.sub_(exponentials(y)[0]).mul_(e).sum(1) / e.sum(1)

    with torch.autocast(logits.device.type, enabled=False):
        found = each_point(of, logits, other.detach())
        found = found + points.confidence.detach().log() - others.confidence.detach().log()
        return torch.where(points.valid & others.valid, found, 0.0)


def mean_probabilities(logits: Tensor, points: JudgedPoints) -> Tensor:
    """Mean class probabilities ``(K,)`` over the valid points, detached; 0 if none is valid."""
    sums: list[Tensor] = []

    def work(parts: Sequence[Part]) -> None:
        for x, valid in parts:
            e = exponentials(x)[1]
            # What is not finite is not valid either.
            share = torch.where(valid, 1 / e.sum(1), 0.0).unsqueeze(1)
            sums.append(torch.where(valid.unsqueeze(1), e, 0.0).mul_(share).sum((0, 2)))

    with torch.autocast(logits.device.type, enabled=False):
        work_through(by_blocks(logits.detach(), points.valid), work)
        return torch.stack(sums).sum(0) / points.valid.sum().clamp(min=1)


def class_sums(values: Tensor, label: Tensor, num_classes: int) -> Tensor:
    """Sums of values ``(G, N)`` over the points of each class, ``(G, K)``; labels ``(G, N)``, int64 in [0, K)."""
    return values.new_zeros(values.shape[0], num_classes).scatter_add(1, label, values)


def class_maxima(values: Tensor, label: Tensor, num_classes: int) -> Tensor:
    """Largest of values ≥ 0 ``(G, N)`` over the points of each class, ``(G, K)``; 0 for a class without points."""
    return values.new_zeros(values.shape[0], num_classes).scatter_reduce(1, label, values, "amax")


def grouped(points: Tensor, scope: str) -> Tensor:
    """Points ``(B, *S)`` as ``(groups, points)``: a group for each sample, or one for the batch or a window."""
    return points.reshape(points.shape[0], -1) if scope == "sample" else points.reshape(1, -1)
