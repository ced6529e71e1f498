"""The charts that every page on training shows, from rows of its log."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from residual_ssl.engine.pages.chart import Chart, chart
from residual_ssl.engine.pages.words import metric_name

Log = Sequence[Mapping[str, float]]


def training_charts(runs: Sequence[tuple[str, Log]], metric: str) -> list[Chart]:
    """Validation metric, loss, and coverage and purity of pseudo-labels over steps; those that any run has.

    Args:
        runs: name and rows of the log of each, oldest first.
        metric: that the task is judged by.
    """
    panels = (
        (f"validation/{metric}", f"validation {metric_name(metric)} (%)", 1, 100),
        ("train/loss", "loss", 1, math.inf),
        ("train/coverage", "pseudo-label coverage (%)", 100, 100),
        ("train/purity", "pseudo-label purity (%)", 100, 100),
    )
    drawn = (
        chart(title, [(name, _points(log, key, scale)) for name, log in runs], most)
        for key, title, scale, most in panels
    )
    return [one for one in drawn if one is not None]


def _points(log: Log, key: str, scale: float) -> list[tuple[float, float]]:
    return [(row["step"], scale * row[key]) for row in log if math.isfinite(row.get(key, math.nan))]
