"""Soft pseudo-labels: sharpened probabilities of confident points."""

from __future__ import annotations

from torch import Tensor

from residual_ssl.runtime.arguments import Positive, Share, checked
from residual_ssl.selection.features import JudgedPoints
from residual_ssl.selection.points.probabilities import log_probabilities
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector


class SharpenedThreshold(Selector):
    """Teach confident points the sharpened probabilities in place of the hard label.

    With τ = 0 and T = 1 every point is taught its probabilities as they are, as Mean Teacher does.

    Formula: ``w = 1[c ≥ τ]``, target ``softmax(x/T)``, τ = .8, T = .4

    State: none.

    Cost: two passes, and the targets' memory, that of the logits.

    Use: many similar classes, where the second best guess carries knowledge; with the squared error, Mean Teacher.

    Source: UDA, arXiv 1904.12848, §2.3 and released code (c before sharpening); Mean Teacher, arXiv 1703.01780.

    Args:
        threshold: τ in [0, 1].
        temperature: T > 0; below 1 sharpens.

    Example:
        >>> import torch
        >>> chosen = SharpenedThreshold(0.7, 0.5)(torch.tensor([[1.0, 0.0], [0.1, 0.0]]))
        >>> chosen.weight
        tensor([1., 0.])
        >>> chosen.target[0]  # softmax of (2, 0)
        tensor([0.8808, 0.1192])
    """

    @checked
    def __init__(self, threshold: Share = 0.8, temperature: Positive = 0.4) -> None:
        super().__init__()
        self.threshold = threshold
        self.temperature = temperature

    def judge(self, points: JudgedPoints, logits: Tensor) -> Selection:
        target = log_probabilities(logits, points, self.temperature).exp_()
        return self.select(points, points.confidence >= self.threshold, target=target)

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}, temperature={self.temperature}"
