"""The most confident share of the points: of all, of each class, or in the proportions of the labels."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from residual_ssl.runtime.arguments import Count, Share, checked
from residual_ssl.selection.features import JudgedPoints
from residual_ssl.selection.needs import Needs
from residual_ssl.selection.points.certainty import Score, certainty
from residual_ssl.selection.points.past_points import PastPoints
from residual_ssl.selection.points.probabilities import grouped
from residual_ssl.selection.points.ranking import class_counts, class_rank_thresholds, label_counts
from residual_ssl.selection.points.schedule import ScheduledSelector
from residual_ssl.selection.points.starts import no_counts
from residual_ssl.selection.selection import Selection

Balance = Literal["none", "predicted", "labelled"]
Scope = Literal["sample", "batch", "window"]


class TopFraction(ScheduledSelector):
    """Trust the most certain share of the points, a share that may grow during training.

    Formula: ``w = 1[c ≥ τ_y]``, τ_k the confidence of the last of the b_k most confident points of class k among N;
    ``b_k = r n_k`` (predicted), ``r q_k N`` (labelled), or ``r N`` over all classes together (none); ``r = r₀ +
    (r₁ - r₀)t/T``, r₀ = .2, r₁ = 1; n_k points are predicted as k, q_k is the share of k among the labels

    State: the step; the number of labels of each class so far, over all processes; with a window, its points.

    Cost: two sorts of the points; with a window, of those in it.

    Use: where a threshold would starve some classes: by predicted class for self-training and domain adaptation, by
    labels where the model's class shares drift from those of the data.

    Source: CBST, arXiv 1810.07911, and DST-CBC, arXiv 2004.08514 (predicted; r rises in five stages there, and CBST's
    labels are balanced too, which is left out); DARS, He et al., ICCV 2021, arXiv 2107.11279 (labelled; of points tied
    at the threshold it draws some at random, here all count).

    Args:
        total_steps: T; None: what :meth:`on_train_start` is told.
        fraction: r₀ in [0, 1].
        final: r₁ in [0, 1].
        balance: ``"none"``, ``"predicted"`` or ``"labelled"``. Before any labels, labelled is predicted.
        scope: what the points are ranked among: ``"sample"``, ``"batch"`` (of the process), or ``"window"``: past
            points, this batch's among them. For batches of few points.
        window: number of past points.
        score: what ranks the points: ``"confidence"``, ``"margin"``, ``"entropy"``, ``"energy"``, ``"pnorm"`` or
            ``"gen"``, see :func:`~residual_ssl.selection.certainty`.

    Raises:
        InvalidInputError: a choice outside its range.

    Example:
        >>> import torch
        >>> selector = TopFraction(total_steps=100, fraction=0.5, final=0.5)
        >>> selector(torch.tensor([[4.0, 0.0], [3.0, 0.0], [0.0, 0.2], [0.0, 0.1]])).weight
        tensor([1., 0., 1., 0.])
    """

    labels: Tensor

    @checked
    def __init__(
        self,
        total_steps: Count | None = None,
        fraction: Share = 0.2,
        final: Share = 1.0,
        balance: Balance = "predicted",
        scope: Scope = "batch",
        window: Count = 10_000,
        score: Score = "confidence",
    ) -> None:
        super().__init__(total_steps)
        self.fraction = fraction
        self.final = final
        self.balance = balance
        self.scope = scope
        self.window = window
        self.score = score
        self.past = PastPoints(window, score=torch.float32, label=torch.int64) if scope == "window" else None
        if balance == "labelled":
            self.add_class_state("labels", no_counts, "sum")

    @property
    def needs(self) -> Needs:
        return replace(super().needs, labels=self.balance == "labelled")

    def update_from_labels(self, logits: Tensor, target: Tensor, ignore_index: int = 255) -> None:
        if self.balance != "labelled" or not self.training:
            return
        self.size_states(logits.shape[1])
        counts = label_counts(target, ignore_index, logits.shape[1])
        self.labels.add_(self.reduced("labels", counts.to(self.labels.dtype)))

    def judge(self, points: JudgedPoints, logits: Tensor) -> Selection:
        score = certainty(logits, points, self.score)
        columns = [grouped(x, self.scope) for x in (score, points.label, points.valid)]
        own = list(columns)
        if self.past is not None:
            own[0] = own[0].float()  # a point equals itself in the window
            if self.training:
                self.past.add(own[2], score=own[0], label=own[1])
            columns = [self.past.column(name) for name in ("score", "label", "filled")]
        threshold = self._thresholds(columns[0], columns[1], columns[2], logits.shape[1])
        chosen = own[0] >= threshold.gather(1, own[1])
        return self.select(points, chosen.reshape(points.valid.shape))

    def _thresholds(self, score: Tensor, label: Tensor, valid: Tensor, classes: int) -> Tensor:
        share = self.fraction + (self.final - self.fraction) * self.progress()
        if self.balance == "none":
            budget = (share * valid.sum(-1, keepdim=True)).round().long()
            return class_rank_thresholds(score, torch.zeros_like(label), valid, budget).expand(-1, classes)
        counts = class_counts(label, valid, classes)
        wanted = counts.to(share.dtype)
        if self.balance == "labelled":
            total = self.labels.sum()
            by_labels = self.labels / total.clamp(min=1) * valid.sum(-1, keepdim=True)
            wanted = torch.where(total > 0, by_labels.to(share.dtype), wanted)
        return class_rank_thresholds(score, label, valid, (share * wanted).round().long())

    def extra_repr(self) -> str:
        return (
            f"{self.total_steps}, fraction={self.fraction}, final={self.final}, balance={self.balance!r}, "
            f"scope={self.scope!r}, score={self.score!r}"
        )
