"""Selection by the truth: what a perfect selector would choose, the upper row of every comparison."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.runtime.arguments import checked
from residual_ssl.selection.features import JudgedPoints
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector


class OracleSelector(Selector):
    """Trust the points whose pseudo-label is right, or, as a perfect filter, those that are of one of the classes.

    It needs the true labels of unlabelled data and so is no method: it says how far selection alone could go. The share
    of the way from :class:`TrustAll` to here is a selector's *gap closed*. It also knows what no prediction tells: the
    filter of out-of-class points is the fairer upper row where the pool is contaminated.

    Formula: ``w = 1[y = truth]`` (right), ``w = 1[0 ≤ truth < K]`` (known)

    State: none.

    Cost: one pass; the true labels of unlabelled data.

    Use: as the upper row of every comparison, never as a method.

    Source: the definition of a right label.

    Args:
        keep: ``"right"``, points whose pseudo-label is right; ``"known"``, points of one of the K classes, whatever
            their pseudo-label.

    Args of ``forward``:
        logits, valid: as :class:`Selector`.
        truth: int64 ``(B, *S)`` true class ids; an id outside [0, K), such as an ignore index, is never right.

    Raises:
        InvalidInputError: another choice; a truth of another shape.

    Example:
        >>> import torch
        >>> OracleSelector()(torch.tensor([[4.0, 0.0], [1.0, 0.0]]), truth=torch.tensor([1, 0])).weight
        tensor([0., 1.])
    """

    evidence = ("truth",)

    @checked
    def __init__(self, keep: Literal["right", "known"] = "right") -> None:
        super().__init__()
        self.keep = keep

    def judge(self, points: JudgedPoints, logits: Tensor, *, truth: Tensor) -> Selection:
        if truth.shape != points.label.shape:
            raise InvalidInputError(
                f"truth: got shape {tuple(truth.shape)}, expected {tuple(points.label.shape)}, as logits are "
                f"{tuple(logits.shape)}"
            )
        if self.keep == "known":
            return self.select(points, (truth >= 0) & (truth < logits.shape[1]))
        return self.select(points, points.label == truth)

    def extra_repr(self) -> str:
        return f"keep={self.keep!r}"
