"""FlexMatch: a threshold for each class, lower where the model has learned less."""

from __future__ import annotations

import torch
from torch import Tensor

from residual_ssl.runtime.arguments import Share, ShareBelowOne, checked
from residual_ssl.selection.features import JudgedPoints
from residual_ssl.selection.points.probabilities import class_sums, grouped
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector


class FlexMatchThreshold(Selector):
    """Lower the threshold of a class by how few confident predictions it has had, compared with the best class.

    Formula: ``w = 1[c ≥ τ_y]``, ``τ_k = τ β_k/(2 - β_k)``, ``β_k = σ_k / max(max σ, 1 - Σσ)``, σ_k the share of points
    with ``c ≥ τ`` and label k; τ = .95; updated after it judges

    State: σ, moving averages of momentum m over the points of all processes, 0 at the start.

    Cost: two passes.

    Use: classification with few labels, where classes are learned at different speed: it takes almost everything at
    first.

    Source: FlexMatch, arXiv 2110.08263, §3. There σ counts the last confident prediction of each sample;
    here, where samples are not known again and points may be pixels, old ones fade in 1/(1-m) steps.

    Args:
        threshold: τ in [0, 1].
        momentum: m in [0, 1), .999; the census of the paper is ``1 - batch / unlabelled samples``.

    Example:
        >>> import torch
        >>> selector = FlexMatchThreshold()
        >>> selector(torch.tensor([[4.0, 0.0], [0.1, 0.0]])).weight
        tensor([1., 1.])
    """

    confident: Tensor

    @checked
    def __init__(self, threshold: Share = 0.95, momentum: ShareBelowOne = 0.999) -> None:
        super().__init__()
        self.threshold = threshold
        self.momentum = momentum
        self.add_class_state("confident", torch.zeros, "mean")

    def judge(self, points: JudgedPoints, logits: Tensor) -> Selection:
        confidence = points.confidence.detach()
        share = self.confident.to(confidence.dtype)
        learned = share / torch.maximum(share.max(), 1 - share.sum()).clamp(min=1e-6)
        threshold = self.threshold * learned / (2 - learned)
        if self.training:
            sure = grouped((confidence >= self.threshold) & points.valid, "batch").to(confidence.dtype)
            count = points.valid.sum()
            found = class_sums(sure, grouped(points.label, "batch"), logits.shape[1])[0]
            self.moved("confident", found / count.clamp(min=1), self.momentum, count)
        return self.select(points, confidence >= threshold[points.label])

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}, momentum={self.momentum}"
