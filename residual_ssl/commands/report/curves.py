"""Curves of runs over training steps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D

from residual_ssl.commands.report.runs import FinishedRun
from residual_ssl.commands.report.table import metric_name

# Okabe and Ito's colours, which people with any common colour vision tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
STYLES = ("-", "--", ":", "-.")


def curves(runs: Sequence[FinishedRun]) -> Figure:
    """The main metric in validation, and coverage and purity of the pseudo-labels, over steps."""
    metric = runs[0].task.main_metric
    panels = (
        (f"validation/{metric}", f"validation {metric_name(metric)} (%)", 1),
        ("train/coverage", "pseudo-label coverage (%)", 100),
        ("train/purity", "pseudo-label purity (%)", 100),
    )
    figure = Figure(figsize=(11, 3.7), layout="constrained")
    lines: list[Line2D] = []
    for axes, (key, title, scale) in zip(figure.subplots(1, 3), panels, strict=True):
        drawn = [_curve(axes, run, i, key, scale) for i, run in enumerate(runs)]
        lines = lines or drawn
        axes.set_title(title, fontsize=12)
        axes.set_xlabel("training step", fontsize=11)
        plain(axes)
        if not any(len(np.atleast_1d(line.get_xdata())) for line in drawn):
            axes.text(0.5, 0.5, "no run has any", transform=axes.transAxes, ha="center", color="#555555", fontsize=11)
    legend = figure.legend(
        handles=lines, loc="outside upper center", ncols=min(len(runs), 5), frameon=False, fontsize=11
    )
    as_text(legend)
    return figure


def as_text(legend: Legend) -> None:
    """Show the names in a legend as they are: a dollar sign of the user's begins no formula."""
    for text in legend.get_texts():
        text.set_parse_math(False)


def _curve(axes: Axes, run: FinishedRun, index: int, key: str, scale: float) -> Line2D:
    points = [(row["step"], scale * row[key]) for row in run.log if math.isfinite(row.get(key, math.nan))]
    (line,) = axes.plot(
        [step for step, _ in points],
        [value for _, value in points],
        label=f" {run.name}",  # matplotlib leaves out labels that begin with an underscore
        color=COLOURS[index % len(COLOURS)],
        linestyle=STYLES[index // len(COLOURS) % len(STYLES)],
        marker=MARKERS[index % len(MARKERS)],
        markersize=5 if len(points) <= 20 else 0,
        linewidth=1.8,
    )
    return line


def plain(axes: Axes) -> None:
    """The look of all axes of a report."""
    axes.tick_params(labelsize=10)
    axes.grid(color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
