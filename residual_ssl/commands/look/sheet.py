"""The contact sheet of a data set as a figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from residual_ssl.commands.look.facts import SUBSETS, DataFacts
from residual_ssl.data import resize_image, resize_mask
from residual_ssl.errors import DataError, MissingDataError
from residual_ssl.task import Task

_WIDTH, _DPI = 12.0, 110  # inches, pixels an inch
_COLUMNS = 6
_SHOWN = {"labelled": 12, "unlabelled": 12, "validation": 6}
_SIDE = 260  # pixels of a picture's longer side
_MARGIN, _GAP, _TITLE, _HEADING = 0.35, 0.12, 0.24, 0.5  # inches
_CLASSES = 40  # bars
_OPACITY = 0.55
_GREY = "#555555"
_COLOURS = {"labelled": "#1f5a9d", "unlabelled": "#9a9a9a", "validation": "#d07a1f"}


def contact_sheet(task: Task, source: Any, facts: DataFacts) -> Figure:
    """Shares of the classes and sizes of the images, then samples of each subset with what is known of them.

    Args:
        task: with ``draw_labels`` where labels are drawn over images; else a label is the name of its class.
        source: its subsets of samples of images.
        facts: of the same.
    """
    pictures = {name: list(_pictures(task, getattr(source, name), name)) for name in SUBSETS if name in facts.subsets}
    cell = (_WIDTH - 2 * _MARGIN - (_COLUMNS - 1) * _GAP) / _COLUMNS
    blocks = {name: _rows(found, cell) for name, found in pictures.items()}
    bars = min(len(facts.classes), _CLASSES)
    top = max(2.4, 0.34 * bars + 0.9)
    height = 0.8 + top + sum(_HEADING + sum(rows) for rows in blocks.values()) + _MARGIN
    figure = Figure(figsize=(_WIDTH, height), dpi=_DPI)
    for column, (name, subset) in enumerate(facts.subsets.items()):  # the legend of both plots, too
        place = (_MARGIN + 3 * column) / _WIDTH, 1 - 0.45 / height
        figure.text(*place, f"{subset.samples:,} {name}", fontsize=17, va="center", color=_COLOURS[name])
    _class_bars(_axes(figure, 1.75, 0.95, 0.44 * _WIDTH, top - 0.75), facts, task)
    _size_plot(_axes(figure, 0.62 * _WIDTH, 0.95, 0.35 * _WIDTH, top - 0.75), facts, task)
    y = 0.8 + top
    for name, rows in blocks.items():
        shown = f"{name}: {len(pictures[name])} of {facts.subsets[name].samples:,}"
        figure.text(_MARGIN / _WIDTH, 1 - (y + 0.3) / height, shown, fontsize=13, va="center", color=_COLOURS[name])
        y += _HEADING
        for number, row in enumerate(rows):
            for column, (caption, image) in enumerate(pictures[name][number * _COLUMNS : (number + 1) * _COLUMNS]):
                axes = _axes(figure, _MARGIN + column * (cell + _GAP), y + _TITLE, cell, row - _TITLE - _GAP)
                axes.imshow(image, interpolation="nearest", aspect="equal")
                axes.set_anchor("N")
                axes.axis("off")
                axes.set_title(_tail(caption, 26), fontsize=8.5, pad=3, parse_math=False, color=_GREY)
            y += row
    return figure


def _axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes by inches from the left and from the top."""
    whole_width, whole_height = figure.get_size_inches()
    bottom = 1 - (top + height) / whole_height
    return figure.add_axes((left / whole_width, bottom, width / whole_width, height / whole_height))


def _rows(pictures: Sequence[tuple[str, np.ndarray]], cell: float) -> list[float]:
    """Heights in inches of rows of pictures, each of the tallest in it, captions and gaps included."""
    rows = [pictures[start : start + _COLUMNS] for start in range(0, len(pictures), _COLUMNS)]
    return [
        _TITLE + _GAP + min(2.6 * cell, max(cell * image.shape[0] / image.shape[1] for _, image in row)) for row in rows
    ]


def _pictures(task: Task, samples: Any, subset: str) -> Iterator[tuple[str, np.ndarray]]:
    """Captions and pictures of samples spread over a subset; those that cannot be read are passed over."""
    count = len(samples)
    wanted = min(_SHOWN[subset], count)
    places = dict.fromkeys(int(place) for place in np.linspace(0, count - 1, wanted))
    further = (place for place in range(count) if place not in places)
    yield from islice(_readable(task, samples, [*places, *further], subset), wanted)


def _readable(task: Task, samples: Any, places: Sequence[int], subset: str) -> Iterator[tuple[str, np.ndarray]]:
    for place in places:
        try:
            sample = samples[place]
        except (DataError, MissingDataError):
            continue
        image = _picture(task, sample.image)
        factor = _SIDE / max(image.shape[1:])
        size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[2] * factor)))
        small = resize_image(image, size).clamp(0, 1)
        draw = getattr(task, "draw_labels", None)
        if draw is not None:
            mask = None if subset == "unlabelled" else sample.mask
            yield sample.name, _shown(small) if mask is None else _pair(small, draw(resize_mask(mask, size)))
        else:
            label = None if subset == "unlabelled" else sample.label
            name = task.class_names[label] if label is not None and label >= 0 else ""
            yield name or sample.name, _shown(small)


def _picture(task: Task, image: Tensor) -> Tensor:
    """An image of the source as one to look at, ``(3, H, W)`` in [0, 1]."""
    if hasattr(task, "picture"):
        return task.picture(image)  # type: ignore[no-any-return]
    image = image.float() / 255 if image.dtype == torch.uint8 else image
    return image.expand(3, -1, -1) if len(image) == 1 else image[:3]


def _pair(image: Tensor, colours: Tensor) -> np.ndarray:
    """An image above itself under the colours of its classes."""
    mixed = image * (1 - _OPACITY) + colours * _OPACITY
    line = torch.ones(3, 3, image.shape[2])
    return _shown(torch.cat([image, line, mixed], 1))


def _shown(image: Tensor) -> np.ndarray:
    return (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()


def _class_bars(axes: Axes, facts: DataFacts, task: Task) -> None:
    """Shares of the classes among labelled points, of the labelled and the validation set."""
    shown = {name: subset for name, subset in facts.subsets.items() if subset.shares}
    order = sorted(range(len(facts.classes)), key=lambda k: -max(subset.shares[k] for subset in shown.values()))
    kept = sorted(order[:_CLASSES])
    dense = hasattr(task, "draw_labels")
    palette = getattr(getattr(task, "spec", None), "palette", None)
    for place, (name, subset) in enumerate(shown.items()):
        high = 0.74 / len(shown)
        y = np.arange(len(kept)) + (place - (len(shown) - 1) / 2) * high
        values = [100 * subset.shares[k] for k in kept]
        axes.barh(y, values, height=0.92 * high, color=_COLOURS[name])
        for at, value, k in zip(y, values, kept, strict=True):
            said = f" {value:.3g} %, in {subset.holding[k]}" if dense else f" {subset.holding[k]}"
            axes.text(value, at, said, va="center", fontsize=8.5, color=_GREY)
    names = [_short(facts.classes[k], 18) for k in kept]
    axes.set_yticks(range(len(kept)), names, fontsize=9.5, parse_math=False)
    axes.set_ylim(len(kept) - 0.4, -0.6)
    axes.set_xlim(0, 1.35 * max(1e-3, *(100 * share for subset in shown.values() for share in subset.shares)))
    if palette is not None:
        for row, k in enumerate(kept):  # the colour that the class has in the pictures
            axes.add_patch(_swatch(axes, row, [channel / 255 for channel in palette[k]]))
    left_out = len(facts.classes) - len(kept)
    more = f", {left_out} rarer classes not shown" if left_out else ""
    title = "share of labelled points (%), and samples that hold the class" if dense else "share (%) and number"
    axes.set_title(f"{title}{more}", fontsize=10.5, loc="left")
    _plain(axes)
    axes.tick_params(axis="y", length=0, pad=20 if palette is not None else 4)


def _swatch(axes: Axes, row: int, colour: Sequence[float]) -> Rectangle:
    place = (-0.035, row - 0.3)
    return Rectangle(
        place, 0.025, 0.6, transform=axes.get_yaxis_transform(), color=colour, ec="#888888", lw=0.5, clip_on=False
    )


def _size_plot(axes: Axes, facts: DataFacts, task: Task) -> None:
    """Widths and heights of the images, and the crop that training takes out of them."""
    for name, subset in facts.subsets.items():
        if subset.sizes:
            height, width = zip(*subset.sizes, strict=True)
            axes.scatter(width, height, s=24, alpha=0.6, color=_COLOURS[name], linewidths=0)
    crop = _crop(task)
    if crop is not None:
        shown = f"{crop[0]}×{crop[1]}" if len(set(crop)) > 1 else f"{crop[0]}"
        text = f"crop {shown}" if hasattr(task, "geometry") else f"resized to {shown}"
        axes.add_patch(Rectangle((0, 0), crop[1], crop[0], fill=False, ec="#222222", ls="--", lw=1.2))
        axes.annotate(text, (0, crop[0]), (6, -12), textcoords="offset points", fontsize=9.5)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.margins(0.12)
    axes.autoscale_view()
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("width", fontsize=9.5)
    axes.set_ylabel("height", fontsize=9.5)
    axes.set_title(f"sizes of images (pixels): {_range(facts)}", fontsize=10.5, loc="left")
    _plain(axes)


def _range(facts: DataFacts) -> str:
    sizes = sorted({size for subset in facts.subsets.values() for size in subset.sizes}, key=lambda s: s[0] * s[1])
    shown = [f"{height}×{width}" for height, width in sizes]
    return "none" if not shown else f"all {shown[0]}" if len(shown) == 1 else f"{shown[0]} to {shown[-1]}"


def _crop(task: Task) -> tuple[int, int] | None:
    crop = getattr(getattr(task, "geometry", None), "crop", None)
    size = getattr(getattr(task, "weak", None), "size", None)
    return crop if crop is not None else None if size is None else (size, size)


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)


def _tail(name: str, most: int) -> str:
    return name if len(name) <= most else f"…{name[1 - most :]}"


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
