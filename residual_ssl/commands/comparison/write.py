"""A comparison of selectors as a table, as JSON and as a plot."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from residual_ssl.commands.comparison.compare import Comparison
from residual_ssl.commands.comparison.plot import risk_coverage_plot
from residual_ssl.commands.report.table import Table
from residual_ssl.diagnostics import RankingCurve
from residual_ssl.engine.pages import ABSENT
from residual_ssl.runtime.files import write_json
from residual_ssl.runtime.provenance import provenance

#: Coverages at which purities are compared.
COVERAGES = (0.3, 0.5, 0.7, 0.9)


def comparison_table(comparison: Comparison) -> Table:
    """The selectors as rows of per cents, plain confidence among them."""
    at = (f"@{100 * coverage:.0f}" for coverage in COVERAGES)
    header = ("selector", "coverage", "purity", "gap", "AURC", "AURC+c", *at, "classes")
    rows = []
    for row in comparison.rows:
        found = row.metrics
        operating = (found.coverage, found.purity, row.gap, found.by_weight.aurc)
        cells = [*_per_cent(operating), *_per_cent(_ranked(found.by_weight_and_confidence))]
        rows.append((row.name, *cells, _number(found.classes_covered, 0)))
    plain = comparison.confidence
    rows.insert(1, ("confidence", ABSENT, ABSENT, ABSENT, *_per_cent((plain.aurc, *_ranked(plain))), ABSENT))
    return Table(header, tuple(rows), (False,) * len(rows), _notes(comparison))


def _ranked(curve: RankingCurve) -> tuple[Tensor, ...]:
    return curve.aurc, *curve.purity_at(torch.tensor(COVERAGES)).unbind()


def _per_cent(values: Iterable[Tensor | float]) -> list[str]:
    return [_number(value, 2) for value in values]


def _number(value: Tensor | float, digits: int) -> str:
    # Adding 0 makes the minus of a rounded zero vanish.
    rounded = round(100 * float(value), digits) + 0.0 if math.isfinite(value) else math.nan
    return ABSENT if math.isnan(rounded) else f"{rounded:.{digits}f}"


def _notes(comparison: Comparison) -> tuple[str, ...]:
    metrics = comparison.rows[0].metrics
    bound = max(float(row.metrics.by_weight_and_confidence.aurc_error) for row in comparison.rows)
    left_out = f"; {comparison.left_out:,} others could not be judged" if comparison.left_out else ""
    return (
        f"{int(metrics.points):,} points with a known label{left_out}. All in per cent. Expected calibration error of "
        f"the confidence: {_number(metrics.calibration_error, 2)}.",
        "coverage, purity: of the selector as it is, by its weights. gap: its purity less that of the points of "
        "highest confidence at the same coverage.",
        "AURC: area under the risk–coverage curve of the weights, lower is better; equal weights count as in random "
        "order, so that a hard selector pays for the order it does not give.",
        "AURC+c, @30 …: the same, and purity at these coverages, with points of full weight and those of none ordered "
        f"by confidence. From bins: within {100 * bound:.2g} of the exact area.",
        "classes: share of the true classes of which at least 1 % is taught rightly.",
    )


def write_comparison(comparison: Comparison, out: Path) -> None:
    """Write ``comparison.md``, ``comparison.json`` and ``risk_coverage.png`` into a folder; it is made if needed."""
    out.mkdir(parents=True, exist_ok=True)
    text = f"# Selectors compared\n\n{comparison_table(comparison).markdown()}\n\n![](risk_coverage.png)\n"
    (out / "comparison.md").write_text(text)
    risk_coverage_plot(comparison).savefig(out / "risk_coverage.png", dpi=150, facecolor="white")
    write_json(out / "comparison.json", {**comparison_record(comparison), **provenance()})


def comparison_record(comparison: Comparison) -> dict[str, Any]:
    """All metrics as plain values for JSON, shares in [0, 1]; null where there is none."""
    metrics = comparison.rows[0].metrics
    return {
        "points": int(metrics.points),
        "left_out": comparison.left_out,
        "accuracy": _plain(metrics.accuracy),
        "calibration_error": _plain(metrics.calibration_error),
        "confidence": _curve(comparison.confidence),
        "rules": {
            row.name: {
                "gap": _plain(torch.tensor(row.gap)),
                **{name: _plain(getattr(row.metrics, name)) for name in _SELECTOR_METRICS},
                "by_weight": _curve(row.metrics.by_weight),
                "by_weight_and_confidence": _curve(row.metrics.by_weight_and_confidence),
            }
            for row in comparison.rows
        },
    }


_SELECTOR_METRICS = (
    "coverage",
    "purity",
    "trusted",
    "classes_covered",
    "class_points",
    "class_coverage",
    "class_purity",
    "class_taught",
)


def _curve(curve: RankingCurve) -> dict[str, Any]:
    purities = _plain(curve.purity_at(torch.tensor(COVERAGES)))
    at = {str(coverage): purity for coverage, purity in zip(COVERAGES, purities, strict=True)}
    return {"aurc": _plain(curve.aurc), "aurc_error": _plain(curve.aurc_error), "purity_at": at}


def _plain(values: Tensor) -> Any:
    if values.dim():
        return [_plain(value) for value in values]
    number = values.item()
    return number if math.isfinite(number) else None
