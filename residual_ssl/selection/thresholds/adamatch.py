"""AdaMatch: a threshold relative to the confidence on labelled points."""

from __future__ import annotations

import torch
from torch import Tensor

from residual_ssl.runtime.arguments import Share, ShareBelowOne, checked
from residual_ssl.selection.features import JudgedPoints, judged_points
from residual_ssl.selection.points.ranking import known_labels
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector


class AdaMatchThreshold(Selector):
    """Trust what is predicted nearly as confidently as labelled points are.

    Formula: ``w = 1[c ≥ f·ĉ]``, ĉ the mean confidence on the labelled points of the step, f = .9

    State: ĉ over the labelled points of all processes; 1 before any. With a momentum, its moving average.

    Cost: two passes, and one over the labelled prediction.

    Use: domain adaptation, where confidence differs between models and over training; inside
    :class:`DistributionAlignment` it is AdaMatch.

    Source: AdaMatch, arXiv 2106.04732, §3.3.

    Args:
        fraction: f in [0, 1].
        momentum: m in [0, 1); 0 looks at the labelled points of the step alone.

    Example:
        >>> import torch
        >>> selector = AdaMatchThreshold()
        >>> selector.update_from_labels(torch.tensor([[1.0, 0.0], [1.2, 0.0]]), torch.tensor([0, 0]))
        >>> selector(torch.tensor([[0.9, 0.0], [0.1, 0.0]])).weight
        tensor([1., 0.])
    """

    labelled: Tensor

    @checked
    def __init__(self, fraction: Share = 0.9, momentum: ShareBelowOne = 0.0) -> None:
        super().__init__()
        self.fraction = fraction
        self.momentum = momentum
        self.add_state("labelled", torch.ones(()), "mean")

    def update_from_labels(self, logits: Tensor, target: Tensor, ignore_index: int = 255) -> None:
        points = judged_points(logits.detach(), known_labels(target, ignore_index, logits.shape[1]))
        count = points.valid.sum()
        self.moved("labelled", points.confidence.sum() / count.clamp(min=1), self.momentum, count)

    def judge(self, points: JudgedPoints, logits: Tensor) -> Selection:
        return self.select(points, points.confidence >= self.fraction * self.labelled.to(points.confidence.dtype))

    def extra_repr(self) -> str:
        return f"fraction={self.fraction}, momentum={self.momentum}"
