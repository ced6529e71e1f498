"""The one pass over the logits that every selector needs, on a CPU: by blocks that stay in the cache."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from residual_ssl.selection.points.blocks import block_size, by_blocks


class Odds(NamedTuple):
    """Moments of the odds ``p_k/c = exp(x_k - max x)`` over all classes but the label; each field ``(B, *S)``.

    Attributes:
        first, second: their sum and the sum of their squares, float32, or float64 for float64 logits; ``first`` is NaN
            where a logit is not finite.
        label: the first class of the largest logit, int64 in [0, K); 0 where a logit is not finite.
    """

    first: Tensor
    second: Tensor
    label: Tensor


def odds_in_blocks(logits: Tensor) -> Odds:
    """:class:`Odds` of logits ``(B, K, *S)`` on the CPU, without gradients.

    Contiguous and channels-last logits are not copied; beside its results it takes four megabytes for each thread.
    """
    batch, classes = logits.shape[:2]
    shape = (batch, *logits.shape[2:])
    size = logits.shape[2:].numel()
    at = logits.device
    wide = logits.dtype if logits.dtype == torch.float64 else torch.float32
    odds = Odds(*(torch.empty(shape, dtype=dtype, device=at) for dtype in (wide, wide, torch.int64)))
    images, length = block_size(batch, classes, size)
    room = torch.empty(2, images, classes, length, dtype=wide, device=at)
    number = torch.arange(classes, dtype=wide, device=at).unsqueeze(1)
    # Where in the room the first class of each point is.
    origin = torch.arange(images, device=at).unsqueeze(1) * (classes * length) + torch.arange(length, device=at)
    for x, first, second, label in by_blocks(logits, *odds):
        inside = slice(len(x)), ..., slice(x.shape[2])
        e, rank = (half[inside] for half in room)
        top = e.copy_(x).amax(1, keepdim=True)
        # NaN where a logit is not finite, and so is all that follows; elsewhere they add 0.
        top.add_(top, alpha=0).add_(e.amin(1, keepdim=True), alpha=0)
        e.sub_(top)
        # Many times faster than argmax: k where class k has the largest logit, at least K where it has not.
        torch.add(number, e, alpha=-torch.finfo(wide).max, out=rank)
        label.copy_(rank.amin(1)).clamp_(0, classes - 1)
        e.exp_()
        room[0].view(-1).index_fill_(0, torch.add(origin[inside], label, alpha=length).view(-1), 0.0)
        torch.sum(e, 1, out=first)
        torch.sum(e.square_(), 1, out=second)
    return odds
