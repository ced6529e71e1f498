"""Quantiles of some of the points of a group, without waiting for the device."""

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
    position = (last * level).clamp(min=0).to(torch.float64 if values.device.type != "mps" else torch.float32)
    lower = position.floor().long()
    upper = torch.minimum(lower + 1, last.clamp(min=0))
    below, above = order.gather(-1, lower.unsqueeze(-1)), order.gather(-1, upper.unsqueeze(-1))
    share = (position - lower).to(values.dtype).unsqueeze(-1)
    # A difference of two infinities, in a group without points, is none.
    step = torch.where(share > 0, above - below, torch.zeros_like(below))
    return (below + share * step).squeeze(-1)
