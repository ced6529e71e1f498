"""Dash: a bound on the loss that starts at the labelled loss and shrinks."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from residual_ssl.runtime.arguments import Count, Positive, Share, checked
from residual_ssl.selection.features import JudgedPoints, judged_points
from residual_ssl.selection.points.probabilities import log_probability_of
from residual_ssl.selection.points.ranking import known_labels
from residual_ssl.selection.points.schedule import ScheduledSelector
from residual_ssl.selection.selection import Selection


class DashThreshold(ScheduledSelector):
    """Trust points whose loss to their own label is small, by a bound that starts at the labelled loss and shrinks.

    Formula: ``w = 1[-log c ≤ max(C γ^-s ρ̂, ρ_min)]``, C = 1.0001, γ = 1.27, ρ_min = .05; ρ̂ the mean labelled loss of
    the first 1 % of the steps, s the stage of the training, 0 to 100

    State: the step; sum and number of the labelled losses of the warm-up over all processes. Before any, ρ̂ = log K.

    Cost: one pass, and one over the labelled prediction during the warm-up.

    Use: classification: a threshold that starts at what the labels allow and ends at .951.

    Source: Dash, Xu et al., ICML 2021, eq. 7; ρ_min and about 100 stages from the code of USB, arXiv 2208.07204, whose
    soft labels for the time before ρ_min are left out.

    Args:
        total_steps: T; None: what :meth:`on_train_start` is told.
        decay: γ > 0, above 1.
        scale: C > 0.
        smallest: ρ_min > 0.
        stages: number of times that the bound is lowered during training.
        warmup: share of the steps that ρ̂ is measured in.

    Example:
        >>> import torch
        >>> selector = DashThreshold(total_steps=100)
        >>> selector.update_from_labels(torch.tensor([[1.0, 0.0]]), torch.tensor([1]))  # loss 1.31: c > .27
        >>> selector(torch.tensor([[4.0, 0.0, 0.0], [0.0, 0.0, 0.0]])).weight
        tensor([1., 1.])
    """

    loss: Tensor

    @checked
    def __init__(
        self,
        total_steps: Count | None = None,
        decay: Positive = 1.27,
        scale: Positive = 1.0001,
        smallest: Positive = 0.05,
        stages: Count = 100,
        warmup: Share = 0.01,
    ) -> None:
        super().__init__(total_steps)
        self.decay = decay
        self.scale = scale
        self.smallest = smallest
        self.stages = stages
        self.warmup = warmup
        self.add_state("loss", torch.zeros(2), "sum")  # sum and number

    def update_from_labels(self, logits: Tensor, target: Tensor, ignore_index: int = 255) -> None:
        if not self.training:
            return
        points = judged_points(logits.detach(), known_labels(target, ignore_index, logits.shape[1]))
        known = torch.where(points.valid, target, torch.zeros_like(target))
        losses = torch.where(points.valid, -log_probability_of(logits, points, known), 0.0)
        found = self.reduced("loss", torch.stack([losses.sum(), points.valid.sum().to(losses.dtype)]))
        measuring = self.step <= self.warmup * self.total
        self.loss.add_(torch.where(measuring, found, torch.zeros_like(found)))

    def judge(self, points: JudgedPoints, logits: Tensor) -> Selection:
        total, count = self.loss.to(points.confidence.dtype)
        first = torch.where(count > 0, total / count.clamp(min=1), math.log(logits.shape[1]))
        stage = (self.progress() * self.stages).floor().to(first.dtype)
        bound = (self.scale * self.decay**-stage * first).clamp(min=self.smallest)
        return self.select(points, points.confidence >= torch.exp(-bound))

    def extra_repr(self) -> str:
        return f"{self.total_steps}, decay={self.decay}, scale={self.scale}, smallest={self.smallest}"
