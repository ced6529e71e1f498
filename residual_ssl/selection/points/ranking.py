"""Quantiles and ranks of some of the points of a group, without waiting for the device."""

from __future__ import annotations

import torch
from torch import Tensor


def masked_quantile(values: Tensor, keep: Tensor, level: Tensor | float) -> Tensor:
    """Quantile of the values where ``keep``, linear between neighbours, in each group.

    Unlike :func:`torch.quantile` it takes any number of points, and a share of them that differs from group to group.

    Args:
        values: ``(G, N)``, floating and finite.
        keep: bool ``(G, N)``.
        level: in [0, 1], a number, a scalar tensor or ``(G,)``.

    Returns:
        ``(G,)``; inf for a group that keeps nothing.

    Example:
        >>> masked_quantile(torch.tensor([[3.0, 1.0, 2.0, 9.0]]), torch.tensor([[True, True, True, False]]), 0.75)
        tensor([2.5000])
    """
    if values.shape[-1] == 0:
        return values.new_full(values.shape[:1], torch.inf)
    order = torch.where(keep, values, torch.inf).sort(dim=-1).values
    last = keep.sum(-1) - 1
    wide = torch.float64 if values.device.type != "mps" else torch.float32
    position = (last.to(wide) * level).clamp(min=0)
    lower = position.floor().long()
    upper = torch.minimum(lower + 1, last.clamp(min=0))
    below, above = order.gather(-1, lower.unsqueeze(-1)), order.gather(-1, upper.unsqueeze(-1))
    share = (position - lower).to(values.dtype).unsqueeze(-1)
    # A difference of two infinities, in a group without points, is none.
    step = torch.where(share > 0, above - below, torch.zeros_like(below))
    return (below + share * step).squeeze(-1)


def class_rank_thresholds(values: Tensor, label: Tensor, keep: Tensor, budget: Tensor) -> Tensor:
    """The value of the last point within a budget, for each class: what is at least as large is within it, or ties.

    Args:
        values: ``(G, N)``, floating and finite.
        label: int64 ``(G, N)`` in [0, K).
        keep: bool ``(G, N)``, points that count.
        budget: int64 ``(G, K)`` ≥ 0, number of points of each class; more than there are take all.

    Returns:
        ``(G, K)``: the ``budget``-th largest value among the points of the class; inf for a budget of 0 or a class
        without points.

    Example:
        >>> values, label = torch.tensor([[0.9, 0.5, 0.7, 0.6]]), torch.tensor([[0, 0, 0, 1]])
        >>> class_rank_thresholds(values, label, torch.ones(1, 4, dtype=torch.bool), torch.tensor([[2, 0]]))
        tensor([[0.7000,    inf]])
    """
    groups, classes = budget.shape
    counts = class_counts(label, keep, classes)
    taken = torch.minimum(budget, counts)
    if values.shape[-1] == 0:
        return values.new_full((groups, classes), torch.inf)
    # Sorted by class, and within a class from the largest value on; points that do not count come last.
    down, order = values.sort(dim=-1, descending=True)
    by_class = torch.where(keep, label, classes).gather(-1, order).sort(dim=-1, stable=True).indices
    ranked = down.gather(-1, by_class)
    last = (counts.cumsum(-1) - counts + taken - 1).clamp(min=0)
    return torch.where(taken > 0, ranked.gather(-1, last), torch.inf)


def class_counts(label: Tensor, keep: Tensor, num_classes: int) -> Tensor:
    """Number of the points ``keep`` ``(G, N)`` with each label, int64 ``(G, K)``."""
    return torch.zeros(label.shape[0], num_classes, dtype=torch.int64, device=label.device).scatter_add(
        1, label, keep.long()
    )


def label_counts(target: Tensor, ignore_index: int, num_classes: int) -> Tensor:
    """Number of labels of each class, int64 ``(K,)``, of class ids of any shape; others do not count."""
    known = known_labels(target, ignore_index, num_classes).reshape(1, -1)
    return class_counts(torch.where(known, target.reshape(1, -1), 0), known, num_classes)[0]


def known_labels(target: Tensor, ignore_index: int, num_classes: int) -> Tensor:
    """Where labels are class ids in [0, K), bool of the shape of ``target``; neither ignored nor of no class."""
    return (target != ignore_index) & (target >= 0) & (target < num_classes)
