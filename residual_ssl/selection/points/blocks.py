"""Work on logits by blocks of points that stay in the cache of a core from the first operation to the last."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

# One less than torch divides among threads: where other work keeps a core busy, each division waits for that core, and
# there would be some hundred of them. Threads that take whole blocks wait once.
_NUMBERS = 2**15 - 1
# Below this many blocks a thread costs more than it brings; above so many threads they wait for the interpreter.
_BLOCKS_FOR_A_THREAD = 8
_MOST_THREADS = 8

Part = tuple[Tensor, ...]


def takes_blocks(*tensors: Tensor) -> bool:
    """Whether blocks and results written in place are of use: on a CPU, where nothing is traced or differentiated."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined,no-untyped-call]
        return False
    tracked = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    return not tracked and all(tensor.device.type == "cpu" and tensor.numel() for tensor in tensors)


def block_size(batch: int, classes: int, size: int) -> tuple[int, int]:
    """Images and points of a block: points of one image, or as many whole images as fit; all blocks about equal."""
    points = max(_NUMBERS // classes, 1)
    if points < size:
        return 1, -(-size // -(-size // points))
    together = min(batch, points // size)
    return -(-batch // -(-batch // together)), size


def by_blocks(logits: Tensor, *others: Tensor) -> list[Part]:
    """Logits ``(B, K, *S)`` and further tensors ``(B, K, *S)`` or ``(B, *S)``, in parts ``(b, K, n)`` and ``(b, n)``.

    The parts are views: what is written into them is written into the tensors, if these are contiguous. Where
    :func:`takes_blocks` says no, all is one part.
    """
    batch, classes = logits.shape[:2]
    size = logits.shape[2:].numel()
    images, length = block_size(batch, classes, size) if takes_blocks(logits) else (max(batch, 1), max(size, 1))
    tensors = logits, *others
    parts: list[Part] = []
    for start in range(0, max(batch, 1), images):
        rows = slice(start, start + images)
        count = len(logits[rows])
        # Views where memory allows them, as it does for the usual formats; else copies of this part alone.
        flat = [x[rows].reshape(count, *([classes] if x.dim() == logits.dim() else []), size) for x in tensors]
        parts += zip(*(torch.split(x, length, -1) for x in flat), strict=True)
    return parts


def work_through(parts: Sequence[Part], work: Callable[[Sequence[Part]], Any]) -> None:
    """Call ``work`` on all parts, or, where there are many, on a share of them in each of torch's threads.

    No gradients are recorded. What comes from several threads must be put together by ``work`` itself.
    """
    threads = len(parts) // _BLOCKS_FOR_A_THREAD
    if threads > 1:
        threads = min(threads, torch.get_num_threads(), _MOST_THREADS)
    if threads < 2:
        with torch.no_grad():
            work(parts)
        return
    inference = torch.is_inference_mode_enabled()

    def share(number: int) -> None:
        with torch.inference_mode(inference), torch.no_grad():  # of this thread, which does not inherit them
            work(parts[number::threads])

    with ThreadPoolExecutor(threads - 1) as pool:
        others = [pool.submit(share, number) for number in range(1, threads)]
        share(0)
        for other in others:
            other.result()


def each_point(function: Callable[..., Tensor], logits: Tensor, *others: Tensor) -> Tensor:
    """A function of parts as of :func:`by_blocks` with a result ``(b, n)``, as a tensor ``(B, *S)``; no gradients.

    Example:
        >>> logits = torch.tensor([[[1.0, 2.0], [5.0, 0.0]]])
        >>> each_point(lambda x: x.amax(1), logits)
        tensor([[5., 2.]])
    """
    logits = logits.detach()
    if not takes_blocks(logits):
        (part,) = by_blocks(logits, *others)
        return function(*part).view(logits.shape[0], *logits.shape[2:])
    result = torch.empty_like(logits[:, 0], dtype=wide_dtype(logits), memory_format=torch.contiguous_format)

    def work(parts: Sequence[Part]) -> None:
        for *part, place in parts:
            place.copy_(function(*part))

    work_through(by_blocks(logits, *others, result), work)
    return result


def wide_dtype(logits: Tensor) -> torch.dtype:
    """The dtype that logits are computed in: float32, or float64 if they are."""
    return torch.float64 if logits.dtype == torch.float64 else torch.float32


def exponentials(x: Tensor) -> tuple[Tensor, Tensor]:
    """``d = x - max x`` and ``exp(d)`` of logits ``(b, K, n)``, in the dtype that they are computed in."""
    wide = x.to(wide_dtype(x))
    differences = wide - wide.amax(1, keepdim=True)
    return differences, exp_(differences.clone())


def exp_(differences: Tensor) -> Tensor:
    """``exp`` in place: as a power of two, which torch computes faster than ``exp``, and not in threads of its own."""
    return differences.mul_(1 / math.log(2)).exp2_()
