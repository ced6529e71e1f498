"""FixMatch: a fixed confidence threshold."""

from __future__ import annotations

import torch
from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.runtime.arguments import Shares, checked
from residual_ssl.selection.features import JudgedPoints
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector


class FixedThreshold(Selector):
    """Trust every point whose confidence reaches a threshold: ``w = 1[c ≥ τ]``.

    Formula: ``w = 1[c ≥ τ]``, τ = .95, or ``w = 1[c ≥ τ_y]`` with a threshold for each class

    State: none.

    Cost: one pass.

    Use: a first choice, with a model that is well calibrated and classes of like difficulty.

    Source: FixMatch, arXiv 2001.07685, eq. 4.

    Args:
        threshold: τ in [0, 1]; or K of them, one for each predicted class, as where labels that are absent (0) are
            many and easy, and those that are present (1) few: ``[0.98, 0.8]``.

    Raises:
        InvalidInputError: a threshold outside [0, 1]; when called, another number of classes than of thresholds.

    Example:
        >>> import torch
        >>> FixedThreshold(0.9)(torch.tensor([[4.0, 0.0], [1.0, 0.0]])).trusted
        tensor([ True, False])
    """

    by_class: Tensor | None

    @checked
    def __init__(self, threshold: Shares = 0.95) -> None:
        super().__init__()
        self.threshold = threshold if isinstance(threshold, int | float) else tuple(threshold)
        one = isinstance(self.threshold, int | float)
        by_class = None if one else torch.tensor(self.threshold, dtype=torch.float64)
        self.register_buffer("by_class", by_class, persistent=False)

    def judge(self, points: JudgedPoints, logits: Tensor) -> Selection:
        if isinstance(self.threshold, int | float):
            return self.select(points, points.confidence >= self.threshold)
        assert self.by_class is not None
        if len(self.by_class) != logits.shape[1]:
            raise InvalidInputError(
                f"threshold: got {len(self.by_class)} thresholds for {logits.shape[1]} classes; give one for each, or "
                "one for all"
            )
        return self.select(points, points.confidence >= self.by_class.to(points.confidence.dtype)[points.label])

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}"
