"""No selection: every valid point is trusted."""

from __future__ import annotations

from residual_ssl.selection.thresholds.fixed import FixedThreshold


class TrustAll(FixedThreshold):
    """Trust every valid point: the baseline that a selector has to beat.

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
