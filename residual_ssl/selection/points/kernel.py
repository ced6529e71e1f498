"""The features of every point in one pass over the logits, on a GPU: a Triton kernel.

Each program takes a row of points and goes through their classes by tiles, as an online softmax does: it reads every
logit once and writes 18 bytes a point. Imported only where a CUDA tensor is judged.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_TILE = 4096  # numbers of a tile: 32 registers for each thread of four warps
_MOST_CLASSES = 64


@triton.jit  # type: ignore[untyped-decorator]
def _features(  # type: ignore[no-untyped-def]
    logits,
    valid,
    confidence,
    residual,
    label,
    keep,
    finite,
    points,
    classes,
    of_image,
    of_class,
    of_point,
    scale_epsilon,
    HAS_VALID: tl.constexpr,
    RELEASED: tl.constexpr,
    SCALED: tl.constexpr,
    WIDE: tl.constexpr,
    CLASSES: tl.constexpr,
    POINTS: tl.constexpr,
):
    rows = (points + POINTS - 1) // POINTS
    image = (tl.program_id(0) // rows).to(tl.int64)
    point = (tl.program_id(0) % rows).to(tl.int64) * POINTS + tl.arange(0, POINTS)
    inside = point < points
    start = logits + image * of_image + point * of_point
    top = tl.full([POINTS], float("-inf"), WIDE)
    first = tl.full([POINTS], 0.0, WIDE)
    second = tl.full([POINTS], 0.0, WIDE)
    where = tl.full([POINTS], 0, tl.int32)
    broken = tl.full([POINTS], 0, tl.int32)
    for begin in range(0, classes, CLASSES):
        number = begin + tl.arange(0, CLASSES)[:, None]
        there = (number < classes) & inside[None, :]
        x = tl.load(start[None, :] + number.to(tl.int64) * of_class, mask=there, other=0.0).to(WIDE)
        # Only a finite number is its own difference to itself from 0.
        broken += tl.sum(((x - x) != 0).to(tl.int32), 0)
        x = tl.where((number < classes) & ((x - x) == 0), x, float("-inf"))
        highest = tl.max(x, 0)
        here = tl.min(tl.where(x == highest[None, :], number, classes), 0)
        # A tile without one finite logit adds nothing; -inf - -inf would be NaN.
        base = tl.where(highest == float("-inf"), 0.0, highest)
        odds = tl.where(number == here[None, :], 0.0, tl.exp(x - base[None, :]))
        tile_first = tl.sum(odds, 0)
        tile_second = tl.sum(odds * odds, 0)
        higher = highest > top
        # The largest term stays out of the sums; one that is no longer the largest enters as 1, at its own scale.
        ahead = tl.where(higher, highest, top)
        behind = tl.where(higher, top, highest)
        factor = tl.where(behind == float("-inf"), 0.0, tl.exp(behind - ahead))
        down_first = tl.where(higher, first, tile_first) + 1.0
        down_second = tl.where(higher, second, tile_second) + 1.0
        first = tl.where(higher, tile_first, first) + down_first * factor
        second = tl.where(higher, tile_second, second) + down_second * factor * factor
        where = tl.where(higher, here, where)
        top = ahead
    others = (classes - 1).to(WIDE)
    sure = 1.0 / (1.0 + first)
    mean = first / others
    spread = second / others - mean * mean
    dispersion = tl.where(spread > 0.0, spread, 0.0) * sure * sure
    if RELEASED:
        dispersion += mean * sure * (mean * sure) / others
    if SCALED:
        dispersion *= others * others / (2.0 * (first * sure + scale_epsilon))
    whole = broken == 0
    place = image * points + point
    good = whole
    if HAS_VALID:
        good = whole & (tl.load(valid + place, mask=inside, other=0) != 0)
    tl.store(confidence + place, tl.where(good, sure, 0.0), mask=inside)
    tl.store(residual + place, tl.where(good, dispersion, 0.0), mask=inside)
    tl.store(label + place, tl.where(whole, where, 0).to(tl.int64), mask=inside)
    tl.store(keep + place, good.to(tl.int8), mask=inside)
    tl.store(finite + place, whole.to(tl.int8), mask=inside)


def features_by_kernel(
    logits: Tensor, valid: Tensor | None, *, released: bool, scaled: bool, scale_epsilon: float
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Confidence, residual dispersion, label, validity and finiteness of each point, without gradients.

    Args:
        logits: floating ``(B, K, *S)``, K ≥ 2; contiguous and channels-last ones are read where they lie.
        valid: bool ``(B, *S)``.
        released, scaled: which residual, as of :func:`~residual_ssl.selection.features.prediction_features`.
        scale_epsilon: keeps the scale finite at confidence 1.

    Returns:
        Five tensors ``(B, *S)``: float32, or float64 for float64 logits, twice; int64; bool twice.
    """
    batch, classes = logits.shape[:2]
    shape = (batch, *logits.shape[2:])
    # Without space the samples are the points of one image.
    flat = logits.T.unsqueeze(0) if logits.dim() == 2 else logits.reshape(batch, classes, logits.shape[2:].numel())
    images, _, points = flat.shape
    wide = torch.float64 if logits.dtype == torch.float64 else torch.float32
    values = [torch.empty(shape, dtype=wide, device=logits.device) for _ in range(2)]
    label = torch.empty(shape, dtype=torch.int64, device=logits.device)
    flags = [torch.empty(shape, dtype=torch.bool, device=logits.device) for _ in range(2)]
    if label.numel():
        rows = min(triton.next_power_of_2(classes), _MOST_CLASSES)
        columns = _TILE // rows
        with torch.cuda.device_of(logits):  # type: ignore[no-untyped-call]
            _features[(images * triton.cdiv(points, columns),)](
                flat,
                label if valid is None else valid.contiguous().view(torch.int8),
                *values,
                label,
                *(flag.view(torch.int8) for flag in flags),
                points,
                classes,
                *flat.stride(),
                scale_epsilon,
                HAS_VALID=valid is not None,
                RELEASED=released,
                SCALED=scaled,
                WIDE=tl.float64 if wide == torch.float64 else tl.float32,
                CLASSES=rows,
                POINTS=columns,
            )
    return *values, label, *flags  # type: ignore[return-value]
