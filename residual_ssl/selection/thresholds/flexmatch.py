"""A confidence threshold for each class, lower where the model has learned less."""

from __future__ import annotations

import torch
from torch import Tensor

from residual_ssl.selection.arguments import check_confidence, check_momentum
from residual_ssl.selection.features import judged_points
from residual_ssl.selection.points.probabilities import class_sums, grouped, log_probabilities
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector


def uniform(num_classes: int) -> Tensor:
    """1/K for each class: the start of a running distribution."""
    return torch.full((num_classes,), 1 / num_classes)


def one_over_k(num_classes: int) -> Tensor:
    """1/K alone: the confidence of a model that knows nothing."""
    return torch.full((1,), 1 / num_classes)


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
        >>> rule = FlexMatchThreshold()
        >>> rule(torch.tensor([[4.0, 0.0], [0.1, 0.0]])).weight
        tensor([1., 1.])
    """

    confident: Tensor

    def __init__(self, threshold: float = 0.95, momentum: float = 0.999) -> None:
        super().__init__()
        check_confidence(threshold=threshold)
        check_momentum(momentum)
        self.threshold = threshold
        self.momentum = momentum
        self.add_class_state("confident", torch.zeros, "mean")

    def forward(self, logits: Tensor, valid: Tensor | None = None) -> Selection:
        self.size_states(logits.shape[1])
        points = judged_points(logits, valid)
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
        >>> rule = FreeMatchThreshold(momentum=0.5)
        >>> rule(torch.tensor([[4.0, 0.0], [0.1, 0.0]])).weight
        tensor([1., 0.])
    """

    mean: Tensor
    distribution: Tensor

    def __init__(self, momentum: float = 0.999) -> None:
        super().__init__()
        check_momentum(momentum)
        self.momentum = momentum
        self.add_class_state("mean", one_over_k, "mean")
        self.add_class_state("distribution", uniform, "mean")

    def forward(self, logits: Tensor, valid: Tensor | None = None) -> Selection:
        self.size_states(logits.shape[1])
        points = judged_points(logits, valid)
        confidence = points.confidence.detach()
        count = points.valid.sum()
        mean = self.moved("mean", confidence.sum().reshape(1) / count.clamp(min=1), self.momentum, count)
        predicted = mean_probabilities(log_probabilities(logits, points), points.valid)
        distribution = self.moved("distribution", predicted, self.momentum, count)
        threshold = mean * distribution / distribution.max()
        return self.select(points, confidence >= threshold[points.label])

    def extra_repr(self) -> str:
        return f"momentum={self.momentum}"


def mean_probabilities(log_probability: Tensor, valid: Tensor) -> Tensor:
    """Mean ``(K,)`` over the valid points of probabilities given as logarithms ``(B, K, *S)``; 0 if none is valid."""
    masked = torch.where(valid.unsqueeze(1), log_probability.exp(), torch.zeros_like(log_probability))
    return masked.transpose(0, 1).flatten(1).sum(1) / valid.sum().clamp(min=1)
