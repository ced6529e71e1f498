"""A confidence threshold for all classes that follows the predictions."""

from __future__ import annotations

import torch
from torch import Tensor

from residual_ssl.runtime.arguments import Share, ShareBelowOne, checked
from residual_ssl.selection.features import JudgedPoints
from residual_ssl.selection.points.probabilities import class_maxima, grouped
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector


class CorrMatchThreshold(Selector):
    """Trust confidence above a threshold that follows the best prediction of each class.

    Formula: ``w = 1[c ≥ τ]``, ``τ ← mτ + (1-m)·mean over the predicted classes of the largest c``, at first .85,
    m = .999; updated before it judges

    State: τ, from the largest confidence of each class over all processes.

    Cost: two passes.

    Use: in place of a fixed threshold where the right one is not known: it rises with the model.

    Source: CorrMatch, arXiv 2306.04300, eq. 6; at the released code's numbers.

    Args:
        start: first τ, in [0, 1].
        momentum: m in [0, 1).

    Raises:
        InvalidInputError: a number outside its range.

    Example:
        >>> import torch
        >>> selector = CorrMatchThreshold(start=0.5, momentum=0.9)
        >>> selector(torch.tensor([[4.0, 0.0], [3.0, 0.0], [0.1, 0.0]])).weight
        tensor([1., 1., 0.])
        >>> selector.threshold  # .9 · .5 + .1 · .982
        tensor(0.5482)
    """

    threshold: Tensor

    @checked
    def __init__(self, start: Share = 0.85, momentum: ShareBelowOne = 0.999) -> None:
        super().__init__()
        self.start = start
        self.momentum = momentum
        self.add_state("threshold", torch.tensor(start), "max")

    def judge(self, points: JudgedPoints, logits: Tensor) -> Selection:
        confidence = grouped(points.confidence.detach(), "batch")  # 0 at points that are not valid
        best = class_maxima(confidence, grouped(points.label, "batch"), logits.shape[1])[0]
        threshold = self._updated(best) if self.training else self.threshold.to(best.dtype)
        return self.select(points, points.confidence >= threshold)

    def _updated(self, best: Tensor) -> Tensor:
        best = self.reduced("threshold", best)
        seen = (best > 0).sum()
        old = self.threshold.to(best.dtype)
        mean = torch.where(seen > 0, best.sum() / seen.clamp(min=1), old)
        new = self.momentum * old + (1 - self.momentum) * mean
        self.threshold.copy_(new)
        return new

    def extra_repr(self) -> str:
        return f"start={self.start}, momentum={self.momentum}"
