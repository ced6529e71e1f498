"""Selection by a fixed confidence threshold, and no selection at all."""

from __future__ import annotations

from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.selection.features import judged_points
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector


class FixedThreshold(Selector):
    """Trust every point whose confidence reaches a threshold: ``w = 1[c ≥ τ]``.

    Formula: ``w = 1[c ≥ τ]``, τ = .95

    State: none.

    Cost: one pass.

    Use: a first choice, with a model that is well calibrated and classes of like difficulty.

    Source: FixMatch, arXiv 2001.07685, eq. 4.

    Args:
        threshold: τ in [0, 1].

    Example:
        >>> import torch
        >>> FixedThreshold(0.9)(torch.tensor([[4.0, 0.0], [1.0, 0.0]])).trusted
        tensor([ True, False])
    """

    def __init__(self, threshold: float = 0.95) -> None:
        super().__init__()
        if not 0 <= threshold <= 1:
            raise InvalidInputError(f"threshold: got {threshold}, expected a confidence in [0, 1]")
        self.threshold = threshold

    def forward(self, logits: Tensor, valid: Tensor | None = None) -> Selection:
        points = judged_points(logits, valid)
        return self.select(points, points.confidence >= self.threshold)

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}"


class TrustAll(FixedThreshold):
    """Trust every valid point: the baseline that a selection rule has to beat.

    Formula: ``w = 1``

    State: none.

    Cost: one pass.

    Use: as the lower row of every comparison; with two networks that teach each other (CPS), whose labels differ.

    Source: Pseudo-Label, Lee, ICML Workshop on Challenges in Representation Learning 2013; CPS, arXiv 2106.01226.

    Example:
        >>> import torch
        >>> TrustAll()(torch.tensor([[0.1, 0.0], [float("nan"), 0.0]])).weight
        tensor([1., 0.])
    """

    def __init__(self) -> None:
        super().__init__(threshold=0.0)
