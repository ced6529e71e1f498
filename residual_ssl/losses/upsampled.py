"""Cross-entropy to pseudo-labels of enlarged logits, without the enlarged logits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from residual_ssl.errors import InvalidInputError
from residual_ssl.losses.points import selected_cross_entropy, selected_cross_entropy_sum
from residual_ssl.runtime.global_batch import mean_count
from residual_ssl.selection import Selection

# Enlarged logits that are there at a time: on a CPU as many as a cache holds, else enough to keep the device busy.
_NUMBERS_PER_THREAD = 2**18
_NUMBERS_ELSEWHERE = 2**24


def upsampled_selected_cross_entropy(coarse_logits: Tensor, size: tuple[int, int], selection: Selection) -> Tensor:
    """:func:`selected_cross_entropy` of logits enlarged to ``size``, which never exist as a whole.

    The value and the gradient are those of ``selected_cross_entropy(enlarged, selection)``, with
    ``enlarged = F.interpolate(coarse_logits, size, mode="bilinear", align_corners=True)``, taken by blocks of rows. The
    gradient is computed together with the value, so that one tensor of the coarse size is kept in place of several of
    the full one. Under :func:`torch.compile` it is that composition itself.

    Args:
        coarse_logits: floating ``(B, K, h, w)``, as the last layer before the enlargement gives them; float16 and
            bfloat16 are enlarged in float32.
        size: ``(H, W)`` of the selection.
        selection: labels, weights and validity ``(B, H, W)``, targets and negative labels ``(B, K, H, W)``.

    Returns:
        Scalar, float32 or wider, differentiable once in the logits and in the weights where these carry a gradient.

    Raises:
        InvalidInputError: logits that are not ``(B, K, h, w)``, a selection that is not ``(B, *size)``.

    Example:
        >>> from residual_ssl import FixedThreshold
        >>> coarse = torch.tensor([[[[4.0, 4.0]], [[0.0, 0.0]]]])  # two classes, one row of two points
        >>> chosen = FixedThreshold(0.9)(coarse.repeat_interleave(3, -1))
        >>> round(upsampled_selected_cross_entropy(coarse, (1, 6), chosen).item(), 4)
        0.0181
    """
    if coarse_logits.dim() != 4 or not coarse_logits.is_floating_point():
        raise InvalidInputError(
            f"coarse_logits: got {coarse_logits.dtype} of shape {tuple(coarse_logits.shape)}, expected floating "
            "(B, K, h, w)"
        )
    expected = (coarse_logits.shape[0], *size)
    if tuple(selection.label.shape) != expected:
        raise InvalidInputError(
            f"selection: got points of shape {tuple(selection.label.shape)}, expected (B, *size) = {expected}; select "
            "on logits of the full size"
        )
    with torch.autocast(coarse_logits.device.type, enabled=False):
        wide = coarse_logits.float() if coarse_logits.itemsize < 4 else coarse_logits
        if torch.compiler.is_compiling():
            enlarged = F.interpolate(wide, size, mode="bilinear", align_corners=True)
            return selected_cross_entropy(enlarged, selection)
        total: Tensor = _SumByRows.apply(wide, selection.weight, selection)  # type: ignore[no-untyped-call]
        return total / mean_count(selection.valid.sum())


class _SumByRows(torch.autograd.Function):
    """Sum of the loss over the points, with its gradients, block by block."""

    @staticmethod
    def forward(ctx: Any, coarse: Tensor, weight: Tensor, selection: Selection) -> Tensor:
        of_coarse, of_weight = ctx.needs_input_grad[:2]
        gradients = [
            torch.zeros_like(x) if needed else None for x, needed in ((coarse, of_coarse), (weight, of_weight))
        ]
        total = coarse.new_zeros(())
        for image, rows in _blocks(coarse, *weight.shape[1:]):
            source, lower, fraction = _between(rows, coarse, weight.shape[1])
            part = selection.map(lambda x, image=image, rows=rows: x[image, ..., rows, :])  # type: ignore[misc]
            with torch.enable_grad():
                piece = coarse[image, :, source].detach().requires_grad_(of_coarse)
                part = replace(part, weight=part.weight.detach().requires_grad_(of_weight))
                loss = selected_cross_entropy_sum(_enlarged(piece, lower, fraction, weight.shape[2]), part)
                wanted = [x for x, needed in ((piece, of_coarse), (part.weight, of_weight)) if needed]
                found = list(torch.autograd.grad(loss, wanted)) if wanted else []
            total = total + loss.detach()
            if gradients[0] is not None:
                gradients[0][image, :, source] += found.pop(0)
            if gradients[1] is not None:
                gradients[1][image, rows] = found.pop(0)
        ctx.save_for_backward(*gradients)
        return total

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        of_coarse, of_weight = (None if x is None else x * grad for x in ctx.saved_tensors)
        return of_coarse, of_weight, None


def _blocks(coarse: Tensor, height: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Images and rows of the enlarged logits that are worked on together."""
    on_cpu = coarse.device.type == "cpu"
    numbers = _NUMBERS_PER_THREAD * torch.get_num_threads() if on_cpu else _NUMBERS_ELSEWHERE
    lines = max(numbers // (coarse.shape[1] * width), 1)
    images = max(lines // height, 1)
    for start in range(0, coarse.shape[0], images):
        for begin in range(0, height, lines):
            yield slice(start, start + images), slice(begin, min(begin + lines, height))


def _between(rows: slice, coarse: Tensor, height: int) -> tuple[slice, Tensor, Tensor]:
    """The coarse rows that some enlarged rows lie between: all, the lower of each, and how far from it."""
    last, steps = coarse.shape[2] - 1, max(height - 1, 1)
    source = slice(rows.start * last // steps, min((rows.stop - 1) * last // steps + 1, last) + 1)
    position = torch.arange(rows.start, rows.stop, device=coarse.device) * last
    fraction = (position % steps).to(coarse.dtype) / steps
    return source, position // steps - source.start, fraction.unsqueeze(1)


def _enlarged(piece: Tensor, lower: Tensor, fraction: Tensor, width: int) -> Tensor:
    """Rows between those of ``piece``, stretched to ``width``: bilinear with aligned corners."""
    upper = (lower + 1).clamp(max=piece.shape[2] - 1)
    rows = torch.lerp(piece.index_select(2, lower), piece.index_select(2, upper), fraction)
    return F.interpolate(rows, (len(lower), width), mode="bilinear", align_corners=True)
