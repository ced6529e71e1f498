"""A window of past points, for statistics that the points of one batch are too few for."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn


class PastPoints(nn.Module):
    """The last points of all processes: a ring buffer of confidence and label.

    Processes hold the same window; they must bring the same number of points, valid or not.

    Args:
        size: W ≥ 1, number of points.

    Example:
        >>> past = PastPoints(3)
        >>> past.add(torch.tensor([0.9, 0.1]), torch.tensor([0, 1]), torch.tensor([True, True]))
        >>> past.add(torch.tensor([0.8, 0.7]), torch.tensor([1, 1]), torch.tensor([True, True]))
        >>> past.confidence, past.filled
        (tensor([0.7000, 0.1000, 0.8000]), tensor([True, True, True]))
    """

    confidence: Tensor
    label: Tensor
    filled: Tensor
    following: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("confidence", torch.zeros(size))
        self.register_buffer("label", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("filled", torch.zeros(size, dtype=torch.bool))
        self.register_buffer("following", torch.zeros((), dtype=torch.int64))

    def add(self, confidence: Tensor, label: Tensor, valid: Tensor) -> None:
        """Put the valid ones of ``(N,)`` points in place of the oldest; of more than W, every so-manieth."""
        confidence, label, valid = (gathered(x.detach().flatten()) for x in (confidence, label, valid))
        step = -(-len(confidence) // self.size)
        if step > 1:
            confidence, label, valid = confidence[::step], label[::step], valid[::step]
        order = valid.long().cumsum(0) - 1
        # Points that are not valid are written to a place beyond the window, which is cut off.
        place = torch.where(valid, (self.following + order) % self.size, self.size)
        for buffer, new in ((self.confidence, confidence), (self.label, label), (self.filled, valid)):
            longer = torch.cat([buffer, buffer[:1]]).scatter(0, place, new.to(buffer.dtype))
            buffer.copy_(longer[:-1])
        self.following.copy_((self.following + valid.sum()) % self.size)

    def extra_repr(self) -> str:
        return f"{self.size}"


def gathered(values: Tensor) -> Tensor:
    """Values ``(N,)`` of all processes, one process after the other; N is the same on all."""
    if not (dist.is_available() and dist.is_initialized()):
        return values
    kind = values.dtype
    own = values.to(torch.uint8) if kind == torch.bool else values
    parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, own.contiguous())
    return torch.cat(parts).to(kind)
