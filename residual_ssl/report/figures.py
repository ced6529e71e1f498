"""The figures of a report: curves over steps, and the plane in which the convex partition works."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray
from torch import Tensor

from residual_ssl.report.runs import FinishedRun
from residual_ssl.report.samples import JudgedSamples
from residual_ssl.report.table import metric_name
from residual_ssl.selection import ConvexPartition

# Okabe and Ito's colours, which people with any common colour vision tell apart.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_STYLES = ("-", "--", ":", "-.")
RIGHT, WRONG, UNKNOWN = "#0072B2", "#D55E00", "#777777"
_DRAWN_POINTS = 6000


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
        _plain(axes)
        if not any(len(np.atleast_1d(line.get_xdata())) for line in drawn):
            axes.text(0.5, 0.5, "no run has any", transform=axes.transAxes, ha="center", color="#555555", fontsize=11)
    figure.legend(handles=lines, loc="outside upper center", ncols=min(len(runs), 5), frameon=False, fontsize=11)
    return figure


def _curve(axes: Axes, run: FinishedRun, index: int, key: str, scale: float) -> Line2D:
    points = [(row["step"], scale * row[key]) for row in run.log if math.isfinite(row.get(key, math.nan))]
    (line,) = axes.plot(
        [step for step, _ in points],
        [value for _, value in points],
        label=run.name,
        color=_COLOURS[index % len(_COLOURS)],
        linestyle=_STYLES[index // len(_COLOURS) % len(_STYLES)],
        marker=_MARKERS[index % len(_MARKERS)],
        markersize=5 if len(points) <= 20 else 0,
        linewidth=1.8,
    )
    return line


Array = NDArray[np.generic]


@dataclass(frozen=True)
class _Group:
    """The valid points of one group: what the program saw of them and whether they are right."""

    confidence: Array
    dispersion: Array
    correct: Array
    known: Array
    trusted: Array


def plane(judged: JudgedSamples, partition: ConvexPartition, ignore_index: int) -> Figure:
    """Points of each group by confidence and residual dispersion, with the partition and what it makes trusted.

    Args:
        judged: by a :class:`~residual_ssl.ConvexSelector`.
        partition: of that selector on the same samples, see :meth:`residual_ssl.ConvexSelector.partition`.
        ignore_index: id of unknown labels.
    """
    groups = _groups(judged, len(partition.program), ignore_index)
    shown = groups[:4]
    columns = min(2, len(shown))
    rows = math.ceil(len(shown) / columns)
    figure = Figure(figsize=(5.5 * columns, 3.9 * rows + 0.6), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for index, (axes, group) in enumerate(zip(panels, shown, strict=False)):
        _scatter(axes, group)
        _rule(axes, partition, index)
        title = f"sample {index + 1}" if len(groups) > 1 else f"{len(judged.inputs)} samples, one group"
        axes.set_title(f"{title}: {_shares(group)}", fontsize=11)
        axes.set_xlabel("confidence c", fontsize=11)
        axes.set_ylabel("residual dispersion r", fontsize=11)
        _plain(axes)
    figure.legend(handles=_plane_legend(), loc="outside upper center", ncols=3, frameon=False, fontsize=10.5)
    return figure


def _groups(judged: JudgedSamples, count: int, ignore_index: int) -> list[_Group]:
    selection = judged.selection
    known = judged.known(ignore_index)
    correct = known if judged.truth is None else known & (selection.label == judged.truth)
    columns = (selection.confidence, selection.residual, correct, known, selection.trusted)
    valid = selection.valid.reshape(count, -1)
    return [_Group(*(column.reshape(count, -1)[i][valid[i]].numpy() for column in columns)) for i in range(count)]


def _scatter(axes: Axes, group: _Group) -> None:
    # In random order, so that neither colour hides the other by being drawn last.
    order = np.random.default_rng(0).permutation(len(group.confidence))[:_DRAWN_POINTS]
    colour = np.where(group.known, np.where(group.correct, RIGHT, WRONG), UNKNOWN)[order]
    axes.scatter(group.confidence[order], group.dispersion[order], s=7, c=list(colour), alpha=0.45, linewidths=0)
    low = float(group.confidence.min(initial=1.0))
    high = float(group.dispersion.max(initial=1e-6))
    axes.set_xlim(low - 0.03 * (1 - low), 1 + 0.02 * (1 - low) + 1e-6)
    axes.set_ylim(-0.02 * high, 1.05 * high)


def _rule(axes: Axes, partition: ConvexPartition, group: int) -> None:
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    c, r = np.meshgrid(np.linspace(left, right, 400), np.linspace(bottom, top, 400))
    a = affinity(partition.program[group].cpu(), partition.gram[group].cpu(), torch.from_numpy(np.stack([c, r], -1)))
    axes.contour(c, r, a.numpy(), levels=[0.0], colors="black", linewidths=1.8)
    mean_c, mean_r = partition.mean[group].tolist()
    axes.axvline(mean_c, color="#444444", linestyle="--", linewidth=1.3)
    axes.axhline(mean_r, color="#444444", linestyle=":", linewidth=1.6)
    axes.fill_between([left, min(mean_c, right)], mean_r, top, color="#999999", alpha=0.22, linewidth=0, zorder=0)
    axes.set(xlim=(left, right), ylim=(bottom, top))


def affinity(program: Tensor, gram: Tensor, features: Tensor) -> Tensor:
    """The affinity whose sign assigns a point, ``fᵀPf/<G,P> - fᵀ(I-P)f/<G,I-P>``.

    Args:
        program, gram: P and G of one group, ``(d, d)``.
        features: ``(*, d)``.

    Returns:
        ``(*)``, float64.
    """
    P, G, f = program.double(), gram.double(), features.double()
    complement = torch.eye(len(P), dtype=P.dtype) - P
    form = P / (G * P).sum() - complement / (G * complement).sum()
    return torch.einsum("...i,ij,...j->...", f, form, f)


def _shares(group: _Group) -> str:
    trusted = group.trusted.astype(bool)
    shares = f"{100 * trusted.mean():.0f} % trusted" if len(trusted) else "no valid point"
    known = trusted & group.known
    if known.any():
        shares += f", {100 * (known & group.correct).sum() / known.sum():.0f} % of them right"
    return shares


def _plane_legend() -> list[Line2D | Patch]:
    dot = {"linestyle": "", "marker": "o", "markersize": 6}
    return [
        Line2D([], [], color=RIGHT, label="right pseudo-label", **dot),  # type: ignore[arg-type]
        Line2D([], [], color=WRONG, label="wrong pseudo-label", **dot),  # type: ignore[arg-type]
        Line2D([], [], color="black", linewidth=1.8, label="partition: affinity a(c, r) = 0"),
        Patch(color="#999999", alpha=0.3, label="not trusted: c ≤ μ_c and r ≥ μ_r"),
        Line2D([], [], color="#444444", linestyle="--", label="μ_c of the reliable side"),
        Line2D([], [], color="#444444", linestyle=":", label="μ_r of the reliable side"),
    ]


def _plain(axes: Axes) -> None:
    axes.tick_params(labelsize=10)
    axes.grid(color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
