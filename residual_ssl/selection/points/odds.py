"""The one pass over the logits that every selector needs, on a CPU: by blocks that stay in the cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from residual_ssl.selection.points.blocks import Part, by_blocks, exp_, wide_dtype, work_through


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
    classes, wide, at = logits.shape[1], wide_dtype(logits), logits.device
    shape = (logits.shape[0], *logits.shape[2:])
    odds = Odds(*(torch.empty(shape, dtype=dtype, device=at) for dtype in (wide, wide, torch.int64)))
    parts = by_blocks(logits.detach(), *odds)
    images, _, length = parts[0][0].shape
    number = torch.arange(classes, dtype=wide, device=at).unsqueeze(1)
    # Where the first class of each point of a block is.
    first_class = torch.arange(images, device=at).unsqueeze(1) * (classes * length) + torch.arange(length, device=at)

    def work(parts: Sequence[Part]) -> None:
        room = torch.empty(2, images, classes, length, dtype=wide, device=at)
        (e, rank), flat, origin = room, room[0].view(-1), first_class
        for x, first, second, label in parts:
            if x.shape != e.shape:  # the last block, or one after it
                inside = slice(len(x)), ..., slice(x.shape[2])
                e, rank, origin = room[0][inside], room[1][inside], first_class[inside]
            top = e.copy_(x).amax(1, keepdim=True)
            # NaN where a logit is not finite, and so is all that follows; elsewhere they add 0.
            top.add_(top, alpha=0).add_(e.amin(1, keepdim=True), alpha=0)
            e.sub_(top)
            # Many times faster than argmax: k where class k has the largest logit, at least K where it has not.
            torch.add(number, e, alpha=-torch.finfo(wide).max, out=rank)
            label.copy_(rank.amin(1)).clamp_(0, classes - 1)
            exp_(e)
            flat.index_fill_(0, torch.add(origin, label, alpha=length).view(-1), 0.0)
            torch.sum(e, 1, out=first)
            torch.sum(e.mul_(e), 1, out=second)

    work_through(parts, work)
    return odds
