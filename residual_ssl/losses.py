"""Losses over points that carry weights, normalised by what is valid."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from residual_ssl.selection import Selection


def selected_cross_entropy(logits: Tensor, selection: Selection) -> Tensor:
    """Cross-entropy to the pseudo-labels: ``Σ w·CE / #valid``, 0 where no point is valid.

    The divisor is the number of valid points and not ``Σ w``: a batch of which little is trusted teaches little. A
    selection with soft targets is taught by them in place of its labels. One with negative labels adds, for each point
    that has some, ``-log(1 - Σ_negative p)`` over the same divisor: the point is none of these.

    Args:
        logits: ``(B, K, *S)``.
        selection: labels, weights and validity ``(B, *S)``, targets and negative labels ``(B, K, *S)``.

    Returns:
        Scalar, float32 or wider, differentiable in the logits (and in the weights where these carry a gradient).

    Source: CSL, arXiv 2509.16704, eq. 9; UniMatch, arXiv 2208.09910, eq. 2; negative learning, arXiv 1908.07387.

    Example:
        >>> from residual_ssl import FixedThreshold
        >>> chosen = FixedThreshold(0.9)(torch.tensor([[4.0, 0.0], [0.0, 0.0]]))
        >>> round(selected_cross_entropy(torch.zeros(2, 2), chosen).item(), 4)  # ln 2 at one of two points
        0.3466
    """
    wide = _wide(logits)
    target = selection.label if selection.target is None else selection.target.to(wide.dtype)
    total = _weighted(F.cross_entropy(wide, target, reduction="none"), selection)
    if selection.negative is not None:
        # log(1 - Σ_negative p) is the log-probability of the other classes together.
        others = wide.masked_fill(selection.negative, -torch.inf).logsumexp(1) - wide.logsumexp(1)
        total = total - others.sum()
    return total / selection.valid.sum().clamp(min=1)


def selected_squared_error(logits: Tensor, selection: Selection) -> Tensor:
    """Squared error of probabilities to the pseudo-labels or soft targets: ``Σ w·mean_k (p_k - t_k)² / #valid``.

    Bounded, unlike the cross-entropy: the consistency of Mean Teacher.

    Args and Returns as :func:`selected_cross_entropy`; negative labels have no part in it.

    Source: Mean Teacher, arXiv 1703.01780, §2.

    Example:
        >>> from residual_ssl.selection import NoSelection
        >>> chosen = NoSelection()(torch.tensor([[9.0, 0.0]]))
        >>> round(selected_squared_error(torch.zeros(1, 2), chosen).item(), 4)  # (.5² + .5²) / 2
        0.25
    """
    probabilities = _wide(logits).softmax(1)
    target = selection.target
    if target is None:
        target = F.one_hot(selection.label, logits.shape[1]).movedim(-1, 1)
    error = (probabilities - target.to(probabilities.dtype)).square().mean(1)
    return _weighted(error, selection) / selection.valid.sum().clamp(min=1)


def _weighted(loss: Tensor, selection: Selection) -> Tensor:
    """``Σ w·loss`` over the points of positive weight: what is infinite elsewhere does not spread."""
    return (loss.where(selection.weight > 0, 0.0) * selection.weight).sum()


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
