"""Points sorted by predicted class and reliability, as masses on the nodes of a piecewise linear function."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Nodes are quantiles; beyond this many points, those of an even subsample.
_QUANTILE_POINTS = 100_000
_PRIOR_POINTS = 20.0


@dataclass(frozen=True)
class ReliabilityBins:
    """How N points spread over K classes and M nodes: each counts for the two nodes around its reliability.

    Attributes:
        left: int64 ``(N,)``, flat index ``class·M + node`` of the node below a point; the node above follows it.
        fraction: ``(N,)`` in [0, 1], the position between the two; differentiable in the reliability.
        shape: ``(K, M)``.
        counts: ``(N,)``, how many points each of the N stands for; None: one.
    """

    left: Tensor
    fraction: Tensor
    shape: tuple[int, int]
    counts: Tensor | None = None

    @classmethod
    def of(cls, reliability: Tensor, label: Tensor, num_classes: int, bins: int) -> ReliabilityBins:
        """Bins with nodes at quantiles of the reliability ``(N,)`` of points with labels ``(N,)``, N ≥ 1."""
        nodes = quantile_nodes(reliability.detach(), bins)
        lower, fraction = between(nodes, reliability)
        return cls(label * bins + lower, fraction, (num_classes, bins))

    def mass(self) -> Tensor:
        """Share of all points at each node, ``(K, M)``; sums to 1."""
        counts = self._counts(self.fraction)
        return self._sums(counts) / counts.sum()

    def mean(self, values: Tensor) -> Tensor:
        """Mean of ``(N,)`` values over the points at each node, ``(K, M)``; an empty node takes the one below it."""
        number = self._counts(values)
        sums, counts = self._sums(values * number), self._sums(number)
        filled = counts > 0
        means = torch.where(filled, sums / torch.where(filled, counts, torch.ones_like(counts)), torch.zeros_like(sums))
        position = torch.arange(self.shape[1], device=means.device).expand(self.shape)
        source = torch.where(filled, position, torch.zeros_like(position)).cummax(1).values
        return means.gather(1, source)

    def spread(self, table: Tensor) -> Tensor:
        """Values ``(K, M)`` at the nodes as values ``(N,)`` of the points, linear in between.

        Sums agree: ``spread(w).mean() == (mass() · w).sum()``.
        """
        flat = table.flatten()
        return flat[self.left] * (1 - self.fraction) + flat[self.left + 1] * self.fraction

    def _counts(self, like: Tensor) -> Tensor:
        return torch.ones_like(like) if self.counts is None else self.counts.to(like)

    def _sums(self, values: Tensor) -> Tensor:
        empty = values.new_zeros(self.shape[0] * self.shape[1])
        below = empty.index_add(0, self.left, values * (1 - self.fraction))
        return below.index_add(0, self.left + 1, values * self.fraction).view(self.shape)


def quantile_nodes(reliability: Tensor, bins: int) -> Tensor:
    """``bins`` quantiles of ``(N,)``, from the smallest to the largest."""
    sample = reliability[:: -(-len(reliability) // _QUANTILE_POINTS)]
    levels = torch.linspace(0, 1, bins, dtype=sample.dtype, device=sample.device)
    return torch.quantile(sample, levels)


def between(nodes: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Index of the node below each value and the position, in [0, 1], between it and the next; clamped at the ends."""
    lower = (torch.searchsorted(nodes, values.detach().contiguous(), right=True) - 1).clamp(0, len(nodes) - 2)
    width = nodes[lower + 1] - nodes[lower]
    safe = torch.where(width > 0, width, torch.ones_like(width))
    return lower, ((values - nodes[lower]) / safe).clamp(0, 1)


def interpolated(nodes: Tensor, table: Tensor, reliability: Tensor, label: Tensor) -> Tensor:
    """A function given at nodes ``(M,)`` by a table ``(K, M)``, at points with a reliability and a label ``(N,)``."""
    nodes, table = nodes.to(reliability), table.to(reliability)
    lower, fraction = between(nodes, reliability)
    return table[label, lower] * (1 - fraction) + table[label, lower + 1] * fraction


def correctness_table(
    reliability: Tensor, label: Tensor, correct: Tensor, num_classes: int, bins: int
) -> tuple[Tensor, Tensor]:
    """Share of correct points as a function of reliability, for each class; rising.

    Classes with few points lean on the pooled estimate, which counts for twenty points.

    Args:
        reliability: float64 ``(N,)``; ``label``: int64 ``(N,)``; ``correct``: bool ``(N,)``.
        num_classes: K.
        bins: M.

    Returns:
        nodes ``(M,)`` and correctness ``(K, M)`` in [0, 1].
    """
    nodes = quantile_nodes(reliability, bins)
    lower, fraction = between(nodes, reliability)
    right = correct.to(reliability.dtype)
    pooled_bins = ReliabilityBins(lower, fraction, (1, bins))
    pooled = pooled_bins.mean(right)
    classes = ReliabilityBins(label * bins + lower, fraction, (num_classes, bins))
    counts = classes.mass() * len(reliability)
    of_class = (classes.mean(right) * counts + _PRIOR_POINTS * pooled) / (counts + _PRIOR_POINTS)
    return nodes, of_class.cummax(1).values
