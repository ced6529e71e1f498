"""Losses over points that carry weights, normalised by what is valid."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from residual_ssl.selection import Selection


def selected_cross_entropy(logits: Tensor, selection: Selection) -> Tensor:
    """Cross-entropy to the pseudo-labels: ``Σ w·CE / #valid``, 0 where no point is valid.

    The divisor is the number of valid points and not ``Σ w``: a batch of which little is trusted teaches little.

    Args:
        logits: ``(B, K, *S)``.
        selection: labels, weights and validity ``(B, *S)``.

    Returns:
        Scalar, float32 or wider, differentiable in the logits (and in the weights where these carry a gradient).

    Source: CSL, arXiv 2509.16704, eq. 9; UniMatch, arXiv 2208.09910, eq. 2.

    Example:
        >>> import torch
        >>> from residual_ssl import FixedThreshold
        >>> chosen = FixedThreshold(0.9)(torch.tensor([[4.0, 0.0], [0.0, 0.0]]))
        >>> round(selected_cross_entropy(torch.zeros(2, 2), chosen).item(), 4)  # ln 2 at one of two points
        0.3466
    """
    loss = F.cross_entropy(_wide(logits), selection.label, reduction="none")
    used = selection.weight > 0
    return (loss.where(used, 0.0) * selection.weight).sum() / selection.valid.sum().clamp(min=1)


def labelled_cross_entropy(logits: Tensor, target: Tensor, ignore_index: int = 255) -> Tensor:
    """Mean cross-entropy over the labelled points, 0 where every point is ignored.

    Args:
        logits: ``(B, K, *S)``.
        target: int64 ``(B, *S)``, class ids or ``ignore_index``.
        ignore_index: id of the points to leave out.

    Returns:
        Scalar, float32 or wider.
    """
    loss = F.cross_entropy(_wide(logits), target, ignore_index=ignore_index, reduction="sum")
    return loss / (target != ignore_index).sum().clamp(min=1)


def _wide(logits: Tensor) -> Tensor:
    return logits.float() if logits.itemsize < 4 else logits
