"""Predictions brought to a class distribution before another selector judges them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from residual_ssl.runtime.arguments import ShareBelowOne, checked
from residual_ssl.selection.features import JudgedPoints, judged_points
from residual_ssl.selection.points.probabilities import log_probabilities, mean_probabilities
from residual_ssl.selection.points.ranking import known_labels
from residual_ssl.selection.points.starts import uniform
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector
from residual_ssl.selection.wrapper import WrapperSelector

_EPSILON = 1e-6


class DistributionAlignment(WrapperSelector):
    """Scale the probabilities of each class by wanted over predicted share, then let another selector judge.

    Formula: ``p ← p·(q + ε)/(p̃ + ε)``, made to sum to 1, ε = 1e-6; p̃ the running mean of p, q uniform or that of the
    labelled predictions, momentum .999; p̃ starts at the first batch's; updated before it judges

    State: p̃ and q over the points of all processes, q uniform at the start; and that of the selector inside.

    Cost: three passes and the memory of the logits, beside the selector's own.

    Use: where the model predicts some classes too rarely, and the unlabelled data are spread like the labelled.

    Source: ReMixMatch, arXiv 1911.09785, §3.1; AdaMatch, arXiv 2106.04732, §3.2; SoftMatch, arXiv 2301.10921, §3.3 (q
    uniform, labels of the unaligned prediction). q from labelled predictions, as AdaMatch; ReMixMatch counts labels.

    Args:
        rule: selector that judges the aligned prediction; what it learns from labels it learns from unaligned ones.
        prior: q, ``"labelled"`` or ``"uniform"``.
        momentum: m in [0, 1).
        relabel: whether labels (and soft targets) are those of the aligned prediction, or those of the prediction
            itself; confidences are aligned.

    Example:
        >>> import torch
        >>> from residual_ssl import FixedThreshold
        >>> selector = DistributionAlignment(FixedThreshold(0.6), "uniform", momentum=0.0)
        >>> selector(torch.tensor([[4.0, 0.0], [1.0, 0.0]])).label  # both are class 0 before
        tensor([0, 1])
    """

    rule: Selector
    predicted: Tensor
    wanted: Tensor

    @checked
    def __init__(
        self,
        rule: Selector,
        prior: Literal["labelled", "uniform"] = "labelled",
        momentum: ShareBelowOne = 0.999,
        relabel: bool = True,
    ) -> None:
        super().__init__("rule", rule, learns=prior == "labelled")
        self.prior = prior
        self.momentum = momentum
        self.relabel = relabel
        self.add_class_state("predicted", torch.zeros, "mean")
        self.add_class_state("wanted", uniform, "mean")

    def update_from_labels(self, logits: Tensor, target: Tensor, ignore_index: int = 255) -> None:
        if self.training and self.prior == "labelled":
            self.size_states(logits.shape[1])
            points = judged_points(logits, known_labels(target, ignore_index, logits.shape[1]))
            mean = mean_probabilities(logits, points)
            self.moved("wanted", mean, self.momentum, points.valid.sum())
        super().update_from_labels(logits, target, ignore_index)

    def forward(self, logits: Tensor, valid: Tensor | None = None, **evidence: Tensor) -> Selection:
        points = judged_points(logits, valid)
        mean = mean_probabilities(logits, points)
        # The first batch is taken as it is: nothing has been predicted before.
        momentum = self.momentum * (self.predicted.sum() > 0).to(mean.dtype)
        predicted = self.moved("predicted", mean, momentum, points.valid.sum())
        ratio = ((self.wanted.to(mean.dtype) + _EPSILON) / (predicted + _EPSILON)).log() * (predicted.sum() > 0)
        # Logits differ from log-probabilities by a shift of each point, and what was not finite stays so.
        aligned = logits.detach() + ratio.reshape(-1, *[1] * (logits.dim() - 2))
        chosen: Selection = self.rule(aligned, valid, **evidence)
        return chosen if self.relabel else self._with_own_labels(chosen, points, logits)

    @staticmethod
    def _with_own_labels(chosen: Selection, points: JudgedPoints, logits: Tensor) -> Selection:
        changes: dict[str, Any] = {"label": points.label}
        if chosen.target is not None:
            changes["target"] = log_probabilities(logits, points).exp_()
        if chosen.negative is not None:
            at_label = torch.zeros_like(chosen.negative).scatter(1, points.label.unsqueeze(1), True)
            changes["negative"] = chosen.negative & ~at_label
        return replace(chosen, **changes)

    def extra_repr(self) -> str:
        return f"prior={self.prior!r}, momentum={self.momentum}, relabel={self.relabel}"
