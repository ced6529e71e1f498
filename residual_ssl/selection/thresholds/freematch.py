"""FreeMatch: a threshold at the running mean confidence, lower for rarely predicted classes."""

from __future__ import annotations

from torch import Tensor

from residual_ssl.runtime.arguments import ShareBelowOne, checked
from residual_ssl.selection.features import JudgedPoints
from residual_ssl.selection.points.probabilities import mean_probabilities
from residual_ssl.selection.points.starts import one_over_k, uniform
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector


class FreeMatchThreshold(Selector):
    """A threshold at the running mean confidence, scaled down for classes of which little is predicted.

    FreeMatch's fairness loss acts on the student's predictions and is no part of selection.

    Formula: ``w = 1[c ≥ τ p̃_y / max p̃]``, τ the running mean of c and p̃ of the probabilities, momentum .999; updated
    before it judges

    State: τ and p̃, moving averages over the points of all processes, 1/K at the start.

    Cost: two passes and the memory of the probabilities.

    Use: few labels, where no threshold is known beforehand: it starts low and rises with the model.

    Source: FreeMatch, arXiv 2205.07246, §4; the released code's clip and quantile are off there by default.

    Args:
        momentum: m in [0, 1).

    Example:
        >>> import torch
        >>> selector = FreeMatchThreshold(momentum=0.5)
        >>> selector(torch.tensor([[4.0, 0.0], [0.1, 0.0]])).weight
        tensor([1., 0.])
    """

    mean: Tensor
    distribution: Tensor

    @checked
    def __init__(self, momentum: ShareBelowOne = 0.999) -> None:
        super().__init__()
        self.momentum = momentum
        self.add_class_state("mean", one_over_k, "mean")
        self.add_class_state("distribution", uniform, "mean")

    def judge(self, points: JudgedPoints, logits: Tensor) -> Selection:
        confidence = points.confidence.detach()
        count = points.valid.sum()
        mean = self.moved("mean", confidence.sum().reshape(1) / count.clamp(min=1), self.momentum, count)
        predicted = mean_probabilities(logits, points)
        distribution = self.moved("distribution", predicted, self.momentum, count)
        threshold = mean * distribution / distribution.max()
        return self.select(points, confidence >= threshold[points.label])

    def extra_repr(self) -> str:
        return f"momentum={self.momentum}"
