"""Line charts as geometry, which a template draws as SVG: no library, sharp at any size, values on hover."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: Of the drawing, in units of its view box.
WIDTH, HEIGHT = 360, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 12, 38
_DRAWN, _HOVERED = 400, 50
#: Colours of curves, ``.c0`` … in the style of a page; from then on lines are dashed.
COLOURS = 7

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Mark:
    """A place with its text: a tick, or a value of a curve."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Line:
    """One curve: ``points`` of an SVG polyline, and marks that show their values on hover."""

    name: str
    points: str
    marks: tuple[Mark, ...]
    colour: int
    dash: int


@dataclass(frozen=True)
class Chart:
    """A drawing in the box ``WIDTH`` by ``HEIGHT``.

    Attributes:
        title: what is drawn, with its unit.
        lines: of all names, in their order; one without points has none.
        x_ticks, y_ticks: with their text.
        left, right, top, bottom: of the area within the axes.
        description: the same in words: range and last value of each curve.
    """

    title: str
    lines: tuple[Line, ...]
    x_ticks: tuple[Mark, ...]
    y_ticks: tuple[Mark, ...]
    description: str
    left: float = _LEFT
    right: float = WIDTH - _RIGHT
    top: float = _TOP
    bottom: float = HEIGHT - _BOTTOM


def chart(title: str, curves: Sequence[tuple[str, Points]], most: float = math.inf) -> Chart | None:
    """A chart of curves over steps from 0 on, None where there is no point.

    Args:
        title: what is drawn, with its unit.
        curves: name and points ``(step, value)`` of each; what is not finite is left out.
        most: the largest value that there can be, which the axis does not pass.
    """
    finite = [(name, [(x, y) for x, y in points if math.isfinite(y)]) for name, points in curves]
    every = [point for _, points in finite for point in points]
    if not every:
        return None
    x_low, x_high = 0.0, max(1.0, *(x for x, _ in every))
    y_ticks = [tick for tick in ticks(*_range([y for _, y in every])) if tick <= most]
    y_low, y_high = y_ticks[0], max(y_ticks[-1], *(y for _, y in every))

    def at(x: float, y: float) -> tuple[float, float]:
        right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
        across, up = (x - x_low) / (x_high - x_low), (y - y_low) / (y_high - y_low)
        return round(_LEFT + across * (right - _LEFT), 1), round(bottom - up * (bottom - _TOP), 1)

    lines = []
    for index, (name, points) in enumerate(finite):
        drawn = [at(*point) for point in _thinned(points, _DRAWN)]
        marks = tuple(Mark(*at(x, y), f"{name}: {y:.4g} at step {x:,.0f}") for x, y in _thinned(points, _HOVERED))
        path = " ".join(f"{x:g},{y:g}" for x, y in drawn)
        lines.append(Line(name, path, marks, index % COLOURS, index // COLOURS % 4))
    return Chart(
        title,
        tuple(lines),
        tuple(Mark(at(x, 0)[0], 0, f"{x:,.0f}") for x in ticks(x_low, x_high, 4) if x_low <= x <= x_high),
        tuple(Mark(0, at(x_low, y)[1], f"{y:g}") for y in y_ticks),
        ". ".join(f"{name}: {points[0][1]:.4g} to {points[-1][1]:.4g}" for name, points in finite if points),
    )


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers, about ``count`` of them, from at most ``low`` to at least ``high``.

    Example:
        >>> ticks(3.2, 41.0)
        [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]
    """
    rough = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(rough))
    step = unit * next(factor for factor in (1, 2, 5, 10) if factor * unit >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{number * step:.10g}") for number in range(first, last + 1)]


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    if high - low > 1e-9 * max(1, abs(high)):
        return low, high
    half = 0.05 * abs(high) or 0.5
    return low - half, high + half


def _thinned(points: Points, count: int) -> Points:
    """At most ``count`` points, evenly chosen, the last among them."""
    if len(points) <= count:
        return points
    return [points[round(i * (len(points) - 1) / (count - 1))] for i in range(count)]
