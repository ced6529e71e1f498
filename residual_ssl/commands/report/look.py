"""The look of figures: colours, marks and axes."""

from __future__ import annotations

import io

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend

# Okabe and Ito's colours, which people with any common colour vision tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
STYLES = ("-", "--", ":", "-.")


def as_text(legend: Legend) -> None:
    """Show the names in a legend as they are: a dollar sign of the user's begins no formula."""
    for text in legend.get_texts():
        text.set_parse_math(False)


def plain(axes: Axes) -> None:
    """The look of all axes of a report."""
    axes.tick_params(labelsize=10)
    axes.grid(color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


class ShownFigure(Figure):
    """A figure that notebooks show without more ado."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=72, facecolor="white")
        return buffer.getvalue()
