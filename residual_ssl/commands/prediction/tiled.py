"""Predictions and selections of images of any size in bounded memory: tile by tile."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from residual_ssl.errors import InvalidInputError
from residual_ssl.selection import ConvexSelector, FixedThreshold, Selection, Selector
from residual_ssl.selection.features import JudgedPoints
from residual_ssl.task import Task

#: Points from which on an image is predicted in tiles by default, and the side of these.
WHOLE, SIDE = 2**22, 1024
# Pixels around a tile that are predicted with it and dropped: what the network sees beyond its border.
_MARGIN = 128
# Selectors that judge by the features of points alone, so that an image is judged as a whole whatever its size.
_BY_FEATURES = (ConvexSelector, FixedThreshold)


def tiled_selection(
    task: Task, model: nn.Module, selector: Selector, sample: Tensor, tile: int
) -> tuple[Tensor, Selection]:
    """The predicted labels of an image and their selection, in memory that holds the logits of one tile.

    Tiles overlap by 128 pixels on each side, which are dropped. ConvexSelector and FixedThreshold judge all points
    of the image together, others those of each tile by themselves.

    Args:
        task, model: of the run; the model in evaluation mode.
        selector: in evaluation mode; judges by the prediction alone.
        sample: dataset input ``(C, H, W)``.
        tile: side of the tiles in pixels.

    Returns:
        labels int64 ``(H, W)``, and the selection with batch size 1, both on the CPU.

    Raises:
        InvalidInputError: a tile smaller than 32 pixels.
    """
    if tile < 32:
        raise InvalidInputError(f"tile: got {tile}, expected a side ≥ 32 in pixels, or none for whole images")
    height, width = sample.shape[1:]
    whole = isinstance(selector, _BY_FEATURES)
    label = torch.zeros(height, width, dtype=torch.int64)
    maps: dict[str, Tensor] = {}
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            rows, columns = _Span(top, tile, height), _Span(left, tile, width)
            logits = task.predict(model, sample[:, rows.padded, columns.padded].unsqueeze(0))
            logits = logits[..., rows.kept, columns.kept]
            window = (rows.place, columns.place)
            label[window] = logits[0].argmax(0).cpu()
            found = selector.features(logits, None) if whole else selector(logits)
            for name in JudgedPoints._fields if whole else _MAPS:
                value: Tensor = getattr(found, name)[0].cpu()
                maps.setdefault(name, torch.zeros(height, width, dtype=value.dtype))[window] = value
    values: dict[str, Any] = {name: value.unsqueeze(0) for name, value in maps.items()}
    if whole:
        no_logits = torch.empty(0)
        return label, selector.judge(JudgedPoints(**values), no_logits)
    return label, Selection(**values)


def tiled_logits(task: Task, model: nn.Module, sample: Tensor, tile: int = SIDE) -> Tensor:
    """The logits ``(1, K, H, W)`` of an image of any size, on the CPU; the network sees one tile at a time."""
    height, width = sample.shape[1:]
    whole = torch.empty(0)
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            rows, columns = _Span(top, tile, height), _Span(left, tile, width)
            logits = task.predict(model, sample[:, rows.padded, columns.padded].unsqueeze(0))
            if whole.numel() == 0:
                whole = torch.empty(1, logits.shape[1], height, width, dtype=logits.dtype)
            whole[..., rows.place, columns.place] = logits[..., rows.kept, columns.kept].cpu()
    return whole


_MAPS = ("label", "weight", "trusted", "valid", "confidence", "residual")


class _Span:
    """One side of a tile: where it lies, what is predicted for it, and which part of that is kept."""

    def __init__(self, start: int, tile: int, side: int) -> None:
        end = min(start + tile, side)
        first, last = max(0, start - _MARGIN), min(side, end + _MARGIN)
        self.place = slice(start, end)
        self.padded = slice(first, last)
        self.kept = slice(start - first, end - first)
