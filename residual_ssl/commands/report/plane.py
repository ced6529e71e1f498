"""The plane of confidence and residual dispersion, in which the convex partition works."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray
from torch import Tensor

from residual_ssl.commands.report.look import plain
from residual_ssl.commands.report.samples import JudgedSamples
from residual_ssl.selection import ConvexPartition
from residual_ssl.selection.convex.separation import affinity_form

_RIGHT, _WRONG, _UNKNOWN = "#0072B2", "#D55E00", "#777777"
_DRAWN_POINTS = 6000
_CONFIDENCE_TICKS = (0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.99, 1.0)

Array = NDArray[Any]


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
        plain(axes)
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
    colour = np.where(group.known, np.where(group.correct, _RIGHT, _WRONG), _UNKNOWN)[order]
    axes.scatter(group.confidence[order], group.dispersion[order], s=7, c=list(colour), alpha=0.45, linewidths=0)
    low = float(group.confidence.min(initial=0.999))
    high = float(group.dispersion.max(initial=1e-6))
    # The signed root is defined beyond the ends of the range too, where the margins are.
    axes.set_xscale("function", functions=(lambda c: -_root(1 - c), lambda x: 1 - _square(-x)))
    axes.set_yscale("function", functions=(_root, _square))
    axes.set_xlim(low - 0.03 * (1 - low), 1 + 1e-3 * (1 - low))
    axes.set_ylim(-1e-3 * high, 1.05 * high)
    axes.set_xticks([tick for tick in _CONFIDENCE_TICKS if tick > low])
    axes.set_yticks(np.array([0, 0.04, 0.16, 0.36, 0.64, 1]) * _round_down(high))


def _root(values: Array) -> Array:
    return np.sign(values) * np.sqrt(np.abs(values))


def _square(values: Array) -> Array:
    return np.sign(values) * np.square(values)


def _round_down(value: float) -> float:
    """The next smaller number with one digit."""
    unit = 10.0 ** math.floor(math.log10(value))
    return math.floor(value / unit) * unit


def _rule(axes: Axes, partition: ConvexPartition, group: int) -> None:
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    c, r = np.meshgrid(1 - _spread(1 - right, 1 - left), _spread(bottom, top))
    a = affinity(partition.program[group].cpu(), partition.gram[group].cpu(), torch.from_numpy(np.stack([c, r], -1)))
    if a.min() < 0 < a.max():
        axes.contour(c, r, a.numpy(), levels=[0.0], colors="black", linewidths=1.8)
    mean_c, mean_r = partition.mean[group].tolist()
    axes.axvline(mean_c, color="#444444", linestyle="--", linewidth=1.3)
    axes.axhline(mean_r, color="#444444", linestyle=":", linewidth=1.6)
    axes.fill_between([left, min(mean_c, right)], mean_r, top, color="#999999", alpha=0.22, linewidth=0, zorder=0)
    axes.set(xlim=(left, right), ylim=(bottom, top))


def _spread(low: float, high: float) -> Array:
    """Numbers that lie evenly on a square-root scale."""
    return _square(np.linspace(_root(np.array(low)), _root(np.array(high)), 400))


def affinity(program: Tensor, gram: Tensor, features: Tensor) -> Tensor:
    """The affinity whose sign assigns a point, ``fᵀPf/<G,P> - fᵀ(I-P)f/<G,I-P>``.

    Args:
        program, gram: P and G of one group, ``(d, d)``.
        features: ``(*, d)``.

    Returns:
        ``(*)``, float64.
    """
    form = affinity_form(gram.double(), program.double())
    return torch.einsum("...i,ij,...j->...", features.double(), form, features.double())


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
        Line2D([], [], color=_RIGHT, label="right pseudo-label", **dot),  # type: ignore[arg-type]
        Line2D([], [], color=_WRONG, label="wrong pseudo-label", **dot),  # type: ignore[arg-type]
        Line2D([], [], color="black", linewidth=1.8, label="where the program splits"),
        Patch(color="#999999", alpha=0.3, label=r"not trusted: $c \leq \mu_c$ and $r \geq \mu_r$"),
        Line2D([], [], color="#444444", linestyle="--", label=r"$\mu_c$: mean of c, reliable side"),
        Line2D([], [], color="#444444", linestyle=":", label=r"$\mu_r$: mean of r, reliable side"),
    ]
