"""Risk–coverage curves of selectors, each with the point at which the selector operates."""

from __future__ import annotations

import math

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from residual_ssl.commands.comparison.compare import Comparison, Row
from residual_ssl.commands.report.look import COLOURS, MARKERS, STYLES, ShownFigure, as_text, plain
from residual_ssl.diagnostics import RankingCurve

_GRID = torch.linspace(0.005, 1, 400, dtype=torch.float64)
_BLACK, _GREY = "#000000", "#777777"

Array = NDArray[np.float64]


def risk_coverage_plot(comparison: Comparison) -> Figure:
    """The error rate among the most reliable points over their share, and the purity gained over plain confidence.

    One curve a selector, of its ranking by weight and then confidence, and a mark where the selector operates.
    """
    figure = ShownFigure(figsize=(12, 4.8), layout="constrained")
    risk, gain = figure.subplots(1, 2)
    plain_risk = _risk(comparison.confidence)
    risk.plot(_SHARE, plain_risk, color=_BLACK, linewidth=2.4, label="confidence")
    gain.axhline(0, color=_BLACK, linewidth=2.4, zorder=1)
    colours = [colour for colour in COLOURS if colour != _BLACK]
    none, *selectors, oracle = comparison.rows
    risk.plot(
        100, 100 * (1 - float(none.metrics.purity)), color=_BLACK, marker="o", markersize=9, linestyle="", label="none"
    )
    for index, row in enumerate(selectors):
        colour, marker = colours[index % len(colours)], MARKERS[index % len(MARKERS)]
        style = {"color": colour, "linestyle": STYLES[index // len(colours) % len(STYLES)], "linewidth": 1.8}
        curve = _risk(row.metrics.by_weight_and_confidence)
        risk.plot(_SHARE, curve, label=row.name, marker=marker, markevery=[], markersize=9, **style)
        gain.plot(_SHARE, plain_risk - curve, **style)
        _mark(risk, row, 100 * (1 - float(row.metrics.purity)), colour, marker)
        _mark(gain, row, 100 * row.gap, colour, marker)
    risk.plot(_SHARE, _risk(oracle.metrics.by_weight_and_confidence), color=_GREY, linestyle="--", label="oracle")
    risk.set_title("risk: wrong among the selected (%)", fontsize=12)
    gain.set_title("purity gained over confidence at equal coverage (points)", fontsize=12)
    for axes in (risk, gain):
        axes.set_xlabel("coverage (%)", fontsize=11)
        axes.set_xlim(0, 102)
        plain(axes)
    risk.set_ylim(bottom=-0.02 * risk.get_ylim()[1])
    legend = figure.legend(
        *risk.get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False, fontsize=10.5
    )
    as_text(legend)
    return figure


_SHARE: Array = 100 * _GRID.numpy()


def _risk(curve: RankingCurve) -> Array:
    return 100 * curve.risk_at(_GRID).numpy()


def _mark(axes: Axes, row: Row, height: float, colour: str, marker: str) -> None:
    if math.isfinite(height):
        axes.plot(
            100 * float(row.metrics.coverage),
            height,
            color=colour,
            marker=marker,
            markersize=9,
            markeredgecolor="white",
            clip_on=False,
            zorder=3,
        )
