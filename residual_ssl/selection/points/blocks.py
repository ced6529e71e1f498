"""Work on logits by blocks of points that stay in the cache of a CPU from the first operation to the last."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec

import torch
from torch import Tensor

# Numbers that fit the cache of a core while a block is worked on.
_NUMBERS_PER_THREAD = 2**19


def takes_blocks(*tensors: Tensor) -> bool:
    """Whether blocks and results written in place are of use: on a CPU, where nothing is traced or differentiated."""
    return _plain(*tensors) and all(tensor.device.type == "cpu" and tensor.numel() for tensor in tensors)


def takes_kernel(logits: Tensor) -> bool:
    """Whether a Triton kernel is of use: on a GPU with Triton, where nothing is traced or differentiated.

    A compiler fuses whole passes itself.
    """
    return logits.is_cuda and _plain(logits) and find_spec("triton") is not None


def _plain(*tensors: Tensor) -> bool:
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined,no-untyped-call]
        return False
    return not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors))


def block_size(batch: int, classes: int, size: int) -> tuple[int, int]:
    """Images and points of a block: points of one image, or as many whole images as fit; all blocks about equal."""
    points = max(_NUMBERS_PER_THREAD * torch.get_num_threads() // classes, 1)
    if points < size:
        return 1, -(-size // -(-size // points))
    together = min(batch, points // size)
    return -(-batch // -(-batch // together)), size


def by_blocks(logits: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Logits ``(B, K, *S)`` and further tensors ``(B, K, *S)`` or ``(B, *S)``, in parts ``(b, K, n)`` and ``(b, n)``.

    The parts are views: what is written into them is written into the tensors, if these are contiguous. Where
    :func:`takes_blocks` says no, all is one part.
    """
    batch, classes = logits.shape[:2]
    size = logits.shape[2:].numel()
    images, length = block_size(batch, classes, size) if takes_blocks(logits) else (max(batch, 1), max(size, 1))
    tensors = logits, *others
    for start in range(0, max(batch, 1), images):
        rows = slice(start, start + images)
        count = len(logits[rows])
        # Views where memory allows them, as it does for the usual formats; else copies of this part alone.
        flat = [x[rows].reshape(count, *([classes] if x.dim() == logits.dim() else []), size) for x in tensors]
        for begin in range(0, max(size, 1), length):
            yield tuple(x[..., begin : begin + length] for x in flat)


def each_point(function: Callable[..., Tensor], logits: Tensor, *others: Tensor) -> Tensor:
    """A function of parts as of :func:`by_blocks` with a result ``(b, n)``, as a tensor ``(B, *S)``.

    Example:
        >>> logits = torch.tensor([[[1.0, 2.0], [5.0, 0.0]]])
        >>> each_point(lambda x: x.amax(1), logits)
        tensor([[5., 2.]])
    """
    if not takes_blocks(logits):
        (part,) = by_blocks(logits, *others)
        return function(*part).view(logits.shape[0], *logits.shape[2:])
    result: Tensor | None = None
    begin = 0
    for part in by_blocks(logits, *others):
        values = function(*part)
        if result is None:
            result = values.new_empty(logits.shape[0] * logits.shape[2:].numel())
        result[begin : begin + values.numel()] = values.reshape(-1)
        begin += values.numel()
    assert result is not None
    return result.view(logits.shape[0], *logits.shape[2:])
