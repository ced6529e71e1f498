"""Cross-entropy to pseudo-labels without the points of the largest loss."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from residual_ssl.losses.points import selected_cross_entropy_sum
from residual_ssl.runtime.arguments import ShareBelowOne, checked
from residual_ssl.runtime.global_batch import mean_count
from residual_ssl.selection import Selection


def trimmed_cross_entropy(logits: Tensor, selection: Selection, dropped: float = 0.1) -> Tensor:
    """:func:`selected_cross_entropy` without the share of the points whose loss is largest.

    What a student cannot fit is taken for what its teacher got wrong. Points that weigh something are ranked by their
    cross-entropy within their sample, or, where a point is a whole sample, within this process's micro-batch; the first
    ``⌊dropped · n⌋`` of n are left out, as if they were not valid.

    Args:
        logits: ``(B, K, *S)``.
        selection: labels, weights and validity ``(B, *S)``, targets and negative labels ``(B, K, *S)``.
        dropped: share of the points, in [0, 1).

    Returns:
        Scalar, float32 or wider: ``Σ w·CE / #valid`` over the points that are left.

    Source: Depth Anything V2, arXiv 2406.09414, §4 and appendix: a tenth of the pixels of each pseudo-labelled image.

    Example:
        >>> from residual_ssl.selection import TrustAll
        >>> pseudo = TrustAll()(torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0]]))
        >>> student = torch.tensor([[3.0, 0.0], [3.0, 0.0], [3.0, 0.0]])
        >>> [round(trimmed_cross_entropy(student, pseudo, dropped).item(), 3) for dropped in (0.0, 0.4)]
        [1.049, 0.049]
    """
    with torch.no_grad():
        wide = logits.float() if logits.itemsize < 4 else logits
        target = selection.label if selection.target is None else selection.target.to(wide.dtype)
        loss = F.cross_entropy(wide, target, reduction="none")
        counted = selection.weight > 0
        groups = (loss.where(counted, -torch.inf)).reshape(len(loss) if loss.dim() > 1 else 1, -1)
        count = counted.reshape(groups.shape).sum(1, keepdim=True)
        # The tiny number is for shares like 0.3 of 10, which is 2.9999… in floating point.
        most = (dropped * count + 1e-4).floor()
        rank = groups.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        left = (rank >= most).reshape(loss.shape) | ~counted
    kept = replace(selection, weight=selection.weight.where(left, 0.0), valid=selection.valid & left)
    return selected_cross_entropy_sum(logits, kept) / mean_count(kept.valid.sum())


class TrimmedCrossEntropy:
    """:func:`trimmed_cross_entropy` as a component of a configuration.

    Args:
        dropped: as there.

    Call: ``(logits, selection) -> scalar``.

    Raises:
        InvalidInputError: a share outside [0, 1).
    """

    @checked
    def __init__(self, dropped: ShareBelowOne = 0.1) -> None:
        self.dropped = dropped

    def __call__(self, logits: Tensor, selection: Selection) -> Tensor:
        return trimmed_cross_entropy(logits, selection, self.dropped)
