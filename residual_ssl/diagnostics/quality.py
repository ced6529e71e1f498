"""How good one selection is, where labels are known: metrics of a training step."""

from __future__ import annotations

import torch
from torch import Tensor

from residual_ssl.selection import Selection


@torch.no_grad()
def selection_quality(selection: Selection, truth: Tensor | None = None, ignore_index: int = 255) -> dict[str, Tensor]:
    """Metrics of a selection as scalar tensors, computed without a host synchronisation.

    Args:
        selection: of shape ``(B, *S)``.
        truth: int64 ``(B, *S)`` true class ids, ``ignore_index`` where unknown; None where labels are not known.
        ignore_index: see ``truth``.

    Returns:
        ``coverage`` (:attr:`Selection.coverage`) and ``trusted``, the share of valid points with full trust; with
        ``truth`` also ``purity``, the share of the selected weight that lies on correct labels, ``Σ w·[y = truth] / Σ
        w``, and ``accuracy``, that of all valid points; both over points with a known label, NaN where there is none.

    Example:
        >>> import torch
        >>> from residual_ssl import FixedThreshold
        >>> chosen = FixedThreshold(0.9)(torch.tensor([[4.0, 0.0], [0.0, 4.0], [0.0, 0.1]]))
        >>> metrics = selection_quality(chosen, torch.tensor([0, 0, 0]))
        >>> {name: round(value.item(), 2) for name, value in metrics.items()}
        {'coverage': 0.67, 'trusted': 0.67, 'purity': 0.5, 'accuracy': 0.33}
    """
    count = selection.valid.sum().clamp(min=1)
    metrics = {"coverage": selection.coverage, "trusted": selection.trusted.sum() / count}
    if truth is None:
        return metrics
    known = (truth != ignore_index) & selection.valid
    correct = known & (selection.label == truth)
    weight = selection.weight * known
    metrics["purity"] = (weight * correct).sum() / weight.sum()
    metrics["accuracy"] = correct.sum() / known.sum()
    return metrics
