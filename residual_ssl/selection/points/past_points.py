"""A window of past points, for statistics that the points of one batch are too few for."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from residual_ssl.selection.points.memory import Memory


class PastPoints(Memory):
    """The last points of all processes: a ring buffer with a column for each thing known of a point.

    Processes hold the same window; they must bring the same number of points, valid or not.

    Args:
        size: W ≥ 1, number of points.
        columns: dtype of each column, by name.

    ``filled``, bool ``(W,)``, says which places hold a point.

    Example:
        >>> past = PastPoints(3, confidence=torch.float32)
        >>> past.add(torch.tensor([True, True]), confidence=torch.tensor([0.9, 0.1]))
        >>> past.add(torch.tensor([True, True]), confidence=torch.tensor([0.8, 0.7]))
        >>> past.confidence, past.filled
        (tensor([0.7000, 0.1000, 0.8000]), tensor([True, True, True]))
    """

    filled: Tensor
    following: Tensor

    def __init__(self, size: int, **columns: torch.dtype) -> None:
        super().__init__()
        self.size = size
        for name, dtype in columns.items():
            self.register_buffer(name, torch.zeros(size, dtype=dtype))
        self.register_buffer("filled", torch.zeros(size, dtype=torch.bool))
        self.register_buffer("following", torch.zeros((), dtype=torch.int64))

    def add(self, valid: Tensor, **columns: Tensor) -> None:
        """Put the valid ones of N points, tensors of one shape, in place of the oldest; of too many, an even sample."""
        columns = {"filled": valid, **columns}
        step = -(-valid.numel() * _processes() // self.size)
        rows = {name: gathered(values.detach().flatten())[:: max(step, 1)] for name, values in columns.items()}
        valid = rows["filled"]
        order = valid.long().cumsum(0) - 1
        # Points that are not valid are written to a place beyond the window, which is cut off.
        position = torch.where(valid, (self.following + order) % self.size, self.size)
        for name, new in rows.items():
            buffer: Tensor = getattr(self, name)
            longer = torch.cat([buffer, buffer[:1]]).scatter(0, position, new.to(buffer.dtype))
            buffer.copy_(longer[:-1])
        self.following.copy_((self.following + valid.sum()) % self.size)

    def column(self, name: str) -> Tensor:
        """A column, or ``"filled"``, as one group: ``(1, W)``."""
        values: Tensor = getattr(self, name)
        return values.unsqueeze(0)

    def extra_repr(self) -> str:
        return f"{self.size}"


def _processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gathered(values: Tensor) -> Tensor:
    """Values ``(N,)`` of all processes, one process after the other; N is the same on all."""
    if _processes() == 1:
        return values
    kind = values.dtype
    local = values.to(torch.uint8) if kind == torch.bool else values
    parts = [torch.empty_like(local) for _ in range(_processes())]
    dist.all_gather(parts, local.contiguous())
    return torch.cat(parts).to(kind)
