"""Selectors that know the pool: what a selector decides of its statistics, applied to any part of it."""

from __future__ import annotations

import torch
from torch import Tensor

from residual_ssl.selection.convex.constrained import FULL
from residual_ssl.selection.convex.separation import ConvexPartition, reliability_weight
from residual_ssl.selection.features import JudgedPoints
from residual_ssl.selection.points.bins import interpolated
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector


class ClassThresholds(Selector):
    """Trust the points whose confidence reaches the threshold of their class.

    Args:
        thresholds: ``(K,)``.
    """

    thresholds: Tensor

    def __init__(self, thresholds: Tensor) -> None:
        super().__init__()
        self.register_buffer("thresholds", thresholds)

    def judge(self, points: JudgedPoints, logits: Tensor) -> Selection:
        return self.select(points, points.confidence >= self.thresholds.to(points.confidence.dtype)[points.label])


class OneWeight(Selector):
    """Weigh all points alike.

    Args:
        weight: in [0, 1].
    """

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def judge(self, points: JudgedPoints, logits: Tensor) -> Selection:
        return self.select(points, points.valid & (self.weight == 1), torch.full_like(points.confidence, self.weight))


class TableOfWeights(Selector):
    """Weights as a function of confidence, for each class.

    Args:
        nodes: ``(M,)``, confidences in ascending order.
        table: ``(K, M)``, the weights there; linear in between.
    """

    nodes: Tensor
    table: Tensor

    def __init__(self, nodes: Tensor, table: Tensor) -> None:
        super().__init__()
        self.register_buffer("nodes", nodes)
        self.register_buffer("table", table)

    def judge(self, points: JudgedPoints, logits: Tensor) -> Selection:
        shape = points.confidence.shape
        weight = interpolated(self.nodes, self.table, points.confidence.double().flatten(), points.label.flatten())
        weight = weight.view(shape).to(points.confidence.dtype).clamp(0, 1)
        trusted = weight > FULL
        return self.select(points, trusted, torch.where(trusted, torch.ones_like(weight), weight))


class DecidedPartition(Selector):
    """Weigh points by their distance from a reliable cluster that is known.

    Args:
        partition: of one group, the pool.
        source: whose features the points are judged by.
        alpha: width of the decay.
    """

    program: Tensor
    gram: Tensor
    mean: Tensor
    variance: Tensor

    def __init__(self, partition: ConvexPartition, source: Selector, alpha: float) -> None:
        super().__init__()
        for name in ("program", "gram", "mean", "variance"):
            self.register_buffer(name, getattr(partition, name))
        # Not a submodule: its memory is none of this selector's.
        self.features = source.features  # type: ignore[method-assign]
        self.alpha = alpha

    def judge(self, points: JudgedPoints, logits: Tensor) -> Selection:
        confidence, dispersion = (x.reshape(1, -1) for x in (points.confidence, points.residual))
        partition = ConvexPartition(self.program, self.gram, torch.empty(0), self.mean, self.variance)
        weight, trusted = reliability_weight(confidence, dispersion, partition, alpha=self.alpha)
        return self.select(points, trusted.view(points.valid.shape), weight.view(points.valid.shape))
