"""Weights from the running mean and variance of the confidence."""

from __future__ import annotations

import torch
from torch import Tensor

from residual_ssl.runtime.arguments import Positive, ShareBelowOne, checked
from residual_ssl.selection.features import JudgedPoints
from residual_ssl.selection.points.starts import one_over_k
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector


class SoftMatchWeight(Selector):
    """Weight 1 above the running mean of the confidence, and falling like a Gaussian below it.

    Formula: ``w = exp(-n² min(c - μ, 0)² / (2σ²))``, n = 2, μ and σ² running mean and variance of c, momentum
    .999; updated before it judges; trusted where ``c ≥ μ``

    State: μ and σ² (unbiased) over the points of all processes, 1/K and 1 at the start.

    Cost: three passes.

    Use: where quantity matters as much as quality: unsure points teach a little instead of nothing.

    Source: SoftMatch, arXiv 2301.10921, §3.2, with the n of its released code. Its uniform alignment is
    :class:`DistributionAlignment` around this selector, with ``relabel=False``.

    Args:
        sigmas: n > 0: at μ - σ a point weighs ``exp(-n²/2)``.
        momentum: m in [0, 1).

    Example:
        >>> import torch
        >>> selector = SoftMatchWeight(momentum=0.0)
        >>> selector(torch.tensor([[4.0, 0.0], [3.0, 0.0], [0.1, 0.0]])).weight
        tensor([1.0000, 1.0000, 0.0701])
    """

    mean: Tensor
    variance: Tensor

    @checked
    def __init__(self, sigmas: Positive = 2.0, momentum: ShareBelowOne = 0.999) -> None:
        super().__init__()
        self.sigmas = sigmas
        self.momentum = momentum
        self.add_class_state("mean", one_over_k, "mean")
        self.add_state("variance", torch.ones(1), "mean")

    def judge(self, points: JudgedPoints, logits: Tensor) -> Selection:
        confidence = points.confidence.detach()
        mean, variance = self._moments(confidence, points.valid)
        below = (confidence - mean).clamp(max=0)
        weight = torch.exp(-(self.sigmas * below).square() / (2 * variance.clamp(min=1e-12)))
        return self.select(points, confidence >= mean, weight)

    def _moments(self, confidence: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        if not self.training:
            return self.mean.to(confidence.dtype), self.variance.to(confidence.dtype)
        count = valid.sum().reshape(1)
        total = self.over_processes(count)
        batch_mean = self.reduced("mean", confidence.sum().reshape(1) / count.clamp(min=1), count)
        off = torch.where(valid, confidence - batch_mean, torch.zeros_like(confidence))
        # A single point says nothing of the variance.
        spread = off.square().sum().reshape(1) / count.clamp(min=1) * total / (total - 1).clamp(min=1)
        return (
            self.moved("mean", confidence.sum().reshape(1) / count.clamp(min=1), self.momentum, count),
            self.moved("variance", spread, self.momentum, torch.where(total > 1, count, torch.zeros_like(count))),
        )

    def extra_repr(self) -> str:
        return f"sigmas={self.sigmas}, momentum={self.momentum}"
