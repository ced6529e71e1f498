"""Consistent-Teacher: a threshold from a two-component Gaussian mixture fitted to the confidences."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from residual_ssl.runtime.arguments import Count, Share, checked
from residual_ssl.selection.features import JudgedPoints
from residual_ssl.selection.points.past_points import PastPoints
from residual_ssl.selection.points.probabilities import class_sums, grouped
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector

_VARIANCE_FLOOR = 1e-6
_FEWEST = 4


class ConsistentTeacherThreshold(Selector):
    """Threshold at the mode of the upper component of a two-component Gaussian mixture of the confidences.

    Formula: ``w = 1[c ≥ τ]``, τ the confidence of highest mixture density among the points assigned to the component of
    larger mean; 20 steps of expectation-maximisation, started at the smallest and the largest confidence; τ = .5 for
    fewer than 4 points, or none assigned to that component

    State: none; with a window, its points, those of all processes.

    Cost: some twenty passes over the confidences, or those of the window.

    Use: where the right threshold differs between classes and over training; of a window where batches are small.

    Source: Consistent-Teacher, arXiv 2209.01589, §3.4 and its released code (policy "high"), which keeps 100 scores for
    each class. Variances start at that of the points, there at 1.

    Args:
        per_class: fit one mixture for each predicted class.
        scope: points of one fit: those of a ``"sample"``, of the ``"batch"`` (of the process), or of a ``"window"`` of
            past points that includes this batch.
        window: number of past points.
        iterations: steps of expectation-maximisation, ≥ 1.
        fallback: τ where nothing can be fitted, in [0, 1].

    Raises:
        InvalidInputError: a choice outside its range.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[[4.0, 4.1, 4.2, 0.1, 0.2, 0.3], [0.0] * 6]])
        >>> ConsistentTeacherThreshold(per_class=False)(logits).weight
        tensor([[0., 1., 1., 0., 0., 0.]])
    """

    @checked
    def __init__(
        self,
        per_class: bool = True,
        scope: Literal["sample", "batch", "window"] = "batch",
        window: Count = 10_000,
        iterations: Count = 20,
        fallback: Share = 0.5,
    ) -> None:
        super().__init__()
        self.per_class = per_class
        self.scope = scope
        self.iterations = iterations
        self.fallback = fallback
        self.window = window
        self.past = PastPoints(window, confidence=torch.float32, label=torch.int64) if scope == "window" else None

    def judge(self, points: JudgedPoints, logits: Tensor) -> Selection:
        confidences = [grouped(x, self.scope) for x in (points.confidence.detach(), points.label, points.valid)]
        fitted = list(confidences)
        if self.past is not None:
            confidences[0] = confidences[0].float()  # a point equals itself in the window
            if self.training:
                self.past.add(confidences[2], confidence=confidences[0], label=confidences[1])
            fitted = [self.past.column(name) for name in ("confidence", "label", "filled")]
        classes = logits.shape[1] if self.per_class else 1
        scores, label, keep = fitted
        cell = label if self.per_class else torch.zeros_like(label)
        threshold = mixture_threshold(scores, cell, keep, classes, self.iterations, self.fallback)
        bound = threshold.gather(1, confidences[1] if self.per_class else torch.zeros_like(confidences[1]))
        return self.select(points, (confidences[0] >= bound).reshape(points.valid.shape))

    def extra_repr(self) -> str:
        return (
            f"per_class={self.per_class}, scope={self.scope!r}, iterations={self.iterations}, fallback={self.fallback}"
        )


def mixture_threshold(
    scores: Tensor, cell: Tensor, keep: Tensor, cells: int, iterations: int, fallback: float
) -> Tensor:
    """The threshold of :class:`ConsistentTeacherThreshold` for each cell of points.

    Args:
        scores: ``(G, N)``.
        cell: int64 ``(G, N)`` in [0, cells).
        keep: bool ``(G, N)``, the points that are fitted.
        cells: C.
        iterations, fallback: as there.

    Returns:
        ``(G, C)``.
    """
    ones = keep.to(scores.dtype)
    size = class_sums(ones, cell, cells)
    present = size.clamp(min=1)
    mean = class_sums(ones * scores, cell, cells) / present
    spread = class_sums(ones * (scores - mean.gather(1, cell)).square(), cell, cells) / present
    means = _extremes(scores, cell, keep, cells)
    variances = (spread + _VARIANCE_FLOOR).expand(2, -1, -1)
    shares = torch.full_like(means, 0.5)
    for _ in range(iterations):
        membership = _log_parts(scores, cell, means, variances, shares).softmax(0) * ones
        weights = torch.stack([class_sums(part, cell, cells) for part in membership])
        filled = weights.clamp(min=torch.finfo(scores.dtype).tiny)
        means = torch.stack([class_sums(part * scores, cell, cells) for part in membership]) / filled
        squares = [
            class_sums(part * (scores - center.gather(1, cell)).square(), cell, cells)
            for part, center in zip(membership, means, strict=True)
        ]
        variances = torch.stack(squares) / filled + _VARIANCE_FLOOR
        shares = weights / present
    parts = _log_parts(scores, cell, means, variances, shares)
    upper = keep & (parts[1] > parts[0])
    density = torch.where(upper, parts.logsumexp(0), -torch.inf)
    best = torch.full_like(size, -torch.inf).scatter_reduce(1, cell, density, "amax").gather(1, cell)
    at_best = torch.where(upper & (density == best), scores, torch.inf)
    threshold = torch.full_like(size, torch.inf).scatter_reduce(1, cell, at_best, "amin")
    return torch.where((size >= _FEWEST) & threshold.isfinite(), threshold, fallback)


def _extremes(scores: Tensor, cell: Tensor, keep: Tensor, cells: int) -> Tensor:
    """Least and largest score of each cell, ``(2, G, C)``; 0 for an empty one."""
    nothing = scores.new_zeros(scores.shape[0], cells)
    low = (nothing + torch.inf).scatter_reduce(1, cell, torch.where(keep, scores, torch.inf), "amin")
    high = (nothing - torch.inf).scatter_reduce(1, cell, torch.where(keep, scores, -torch.inf), "amax")
    both = torch.stack([low, high])
    return torch.where(both.isfinite(), both, 0.0)


def _log_parts(scores: Tensor, cell: Tensor, means: Tensor, variances: Tensor, shares: Tensor) -> Tensor:
    """Log of share times density of each point under both Gaussians of its cell, ``(2, G, N)``."""
    parts = []
    for mean, variance, share in zip(means, variances, shares, strict=True):
        off = (scores - mean.gather(1, cell)).square() / variance.gather(1, cell)
        scale = (share.clamp(min=torch.finfo(scores.dtype).tiny).log() - 0.5 * (2 * math.pi * variance).log()).gather(
            1, cell
        )
        parts.append(scale - 0.5 * off)
    return torch.stack(parts)
