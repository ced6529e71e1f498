"""One batch over several processes and micro-batches: random numbers and counts as if it lay in one place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class _Part:
    seed: int
    part: int
    parts: int
    generators: dict[torch.device, torch.Generator] = field(default_factory=dict)

    def generator(self, device: torch.device) -> torch.Generator:
        if device not in self.generators:
            self.generators[device] = torch.Generator(device).manual_seed(self.seed)
        return self.generators[device]


_current: ContextVar[_Part | None] = ContextVar("part_of_the_global_batch", default=None)


@contextmanager
def batch_part(seed: int, part: int = 0, parts: int = 1) -> Iterator[None]:
    """Within the block, the batch at hand is one of ``parts`` equal parts of a global batch.

    :func:`uniform` then draws for the whole global batch and returns the rows of this part, so that what a sample gets
    depends on ``seed`` and on its place in the global batch, and not on how many processes or micro-batches it is
    divided into. :func:`mean_count` averages over the processes. Outside of any block both are plain: a loop of one's
    own needs no set-up.

    Every part has to draw the same things in the same order, which it does where all run the same code. On all
    processes the devices have to be of one kind, as generators of different kinds draw different numbers.

    Args:
        seed: of all draws within the block; the step's.
        part: place of this part in the global batch, in [0, parts).
        parts: processes × micro-batches a step.

    Example:
        >>> def drawn(part, parts, batch):
        ...     with batch_part(5, part, parts):
        ...         return uniform(batch, device=torch.device("cpu"))
        >>> torch.equal(torch.cat([drawn(0, 2, 3), drawn(1, 2, 3)]), drawn(0, 1, 6))
        True
    """
    token = _current.set(_Part(seed, part, parts))
    try:
        yield
    finally:
        _current.reset(token)


def uniform(batch: int, *shape: int, device: torch.device) -> Tensor:
    """Numbers drawn uniformly from [0, 1), float32 ``(batch, *shape)``: one row for each sample.

    From torch's global generator, or within :func:`batch_part` from that of the step. No host synchronisation.
    """
    part = _current.get()
    if part is None:
        return torch.rand(batch, *shape, device=device)
    rows = torch.rand(batch * part.parts, *shape, device=device, generator=part.generator(device))
    return rows[part.part * batch : (part.part + 1) * batch]


def mean_count(count: Tensor) -> Tensor:
    """Divisor of a sum over points: ``count``, at least 1; within :func:`batch_part` its mean over the processes.

    A sum divided by the mean count, averaged over processes as DistributedDataParallel averages gradients, is the sum
    over all processes divided by the count over all processes, however unequal the counts are. No gradient passes. Only
    counts of the same micro-batch are seen: micro-batches of one step weigh equally, whatever they count.

    Args:
        count: scalar, the number of points of this process; integer or floating.
    """
    if _current.get() is None or not (dist.is_available() and dist.is_initialized()):
        return count.clamp(min=1)
    total = count.detach().float()
    total = total.clone() if total is count else total
    dist.all_reduce(total)
    return total.clamp(min=1) / dist.get_world_size()


def sum_over_processes(part: Tensor) -> Tensor:
    """``part`` summed over the processes within :func:`batch_part`, for what is no sum or mean over points.

    The gradient is that of the whole: each process gets its own part's, times the number of processes by which
    DistributedDataParallel divides.

    Args:
        part: floating, of one shape on all processes.
    """
    if _current.get() is None or not (dist.is_available() and dist.is_initialized()):
        return part
    total = part.detach().clone()
    dist.all_reduce(total)
    scaled = part * dist.get_world_size()
    return total + (scaled - scaled.detach())
