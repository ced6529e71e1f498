"""Selectors judged on the same predictions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from tqdm import tqdm

from residual_ssl.commands.comparison.predictions import PredictionBatch, Predictions
from residual_ssl.diagnostics import RankingCurve, SelectionDiagnostics, SelectionMetrics
from residual_ssl.errors import InvalidInputError
from residual_ssl.runtime.progress import hidden
from residual_ssl.selection import OracleSelector, Selector, TrustAll
from residual_ssl.selection.points.units import warn_of_probabilities

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ALWAYS = ("none", "oracle")


@dataclass(frozen=True)
class Row:
    """Metrics of one selector.

    Attributes:
        name: as given by the caller.
        metrics: over all points with a known label.
        gap: purity minus the purity of as many points of highest confidence; NaN where it selects none.
    """

    name: str
    metrics: SelectionMetrics
    gap: float


@dataclass(frozen=True, repr=False)
class Comparison:
    """Selectors on the same predictions: ``none`` first, the ones asked for, ``oracle`` last.

    Attributes:
        rows: one for each selector.
        confidence: risk–coverage curve of the ranking by confidence alone.
        left_out: number of labelled points that were not judged: ``valid`` is False, or a logit is not finite.
    """

    rows: tuple[Row, ...]
    confidence: RankingCurve
    left_out: int

    def row(self, name: str) -> Row:
        """The row of a selector."""
        return next(row for row in self.rows if row.name == name)

    def plot(self) -> Figure:
        """Draw risk–coverage curves with the point at which each selector operates."""
        from residual_ssl.commands.comparison.plot import risk_coverage_plot

        return risk_coverage_plot(self)

    def __repr__(self) -> str:
        from residual_ssl.commands.comparison.write import comparison_table

        return comparison_table(self).text()

    def _repr_html_(self) -> str:
        from residual_ssl.commands.comparison.write import comparison_table
        from residual_ssl.engine.pages import rendered

        return rendered("table.html", table=comparison_table(self))


@torch.no_grad()
def compare(
    predictions: Predictions,
    selectors: Mapping[str, Selector],
    *,
    labelled: Predictions | None = None,
    batch: int | None = None,
    device: torch.device | None = None,
) -> Comparison:
    """Judge predictions by every selector, batch by batch, next to no selection and to the truth as a selector.

    A selector with memory starts as it does in training, and sees each batch once, in order. One whose groups are
    batches depends on ``batch``.

    Args:
        predictions: whose labels say what is right.
        selectors: by the names they are to have.
        labelled: predictions that selectors may learn from, by :meth:`~residual_ssl.Selector.update_from_labels`, or by
            ``fit`` where a selector has it. None: selectors that learn cannot be compared.
        batch: samples at once; None for :attr:`Predictions.default_batch`.
        device: where to judge; None for the CPU.

    Raises:
        InvalidInputError: a selector that needs what was not given; no point with a known label.
    """
    device = device or torch.device("cpu")
    batch = predictions.default_batch if batch is None else batch
    if batch < 1:
        raise InvalidInputError(f"batch: got {batch}, expected samples ≥ 1")
    asked = {name: selector for name, selector in selectors.items() if name not in _ALWAYS}
    selectors = {"none": TrustAll(), **asked, "oracle": OracleSelector()}
    for name, selector in selectors.items():
        _check_needs(name, selector, predictions, labelled)
        selector.to(device)
        if labelled is not None:
            _teach(selector, labelled, batch, device)
    diagnostics = {
        name: SelectionDiagnostics(predictions.num_classes, predictions.ignore_index).to(device) for name in selectors
    }
    known = 0
    parts = -(-len(predictions.logits) // batch)
    for part in tqdm(predictions.batches(batch, device), total=parts, disable=hidden(None), desc="select"):
        if not known and device.type != "cpu":  # there selectors warn themselves
            warn_of_probabilities(part.logits)
        known += int((part.labels != predictions.ignore_index).sum())
        for name, selector in selectors.items():
            try:
                diagnostics[name].update(selector(part.logits, part.valid, **_evidence(selector, part)), part.labels)
            except InvalidInputError as error:
                error.args = (f"selector {name}: {error}",)
                raise
    points = int(diagnostics["none"].class_points.sum())
    if not points:
        raise InvalidInputError(
            f"{predictions.labels.name}: got no known label at a point that can be judged{predictions.labels.place}; "
            f"ids other than the ignore index {predictions.ignore_index}, and finite logits, are needed"
        )
    metrics = {name: metric.compute() for name, metric in diagnostics.items()}
    confidence = metrics["none"].by_weight_and_confidence
    rows = tuple(Row(name, found, _gap(found, confidence)) for name, found in metrics.items())
    return Comparison(rows, confidence, known - points)


def _gap(metrics: SelectionMetrics, confidence: RankingCurve) -> float:
    if metrics.coverage == 0:
        return math.nan
    return float(metrics.purity - confidence.purity_at(metrics.coverage))


def _evidence(selector: Selector, batch: PredictionBatch) -> dict[str, Tensor | None]:
    return {name: {"truth": batch.labels, "second": batch.second}[name] for name in selector.needs.evidence}


def _check_needs(name: str, selector: Selector, predictions: Predictions, labelled: Predictions | None) -> None:
    kind, needs = type(selector), selector.needs
    if "second" in needs.evidence and predictions.second is None:
        raise InvalidInputError(
            f"selector {name}: {kind.__name__} judges by a second prediction of the same points; give its logits, "
            "--second FILE"
        )
    if unknown := set(needs.evidence) - {"truth", "second"}:
        raise InvalidInputError(f"selector {name}: {kind.__name__} judges by {', '.join(unknown)}, which is not saved")
    if labelled is None and (needs.labels or needs.fit):
        raise InvalidInputError(
            f"selector {name}: {kind.__name__} learns from labelled predictions; give them, --labelled-logits FILE "
            "--labelled-labels FILE"
        )


def _teach(selector: Selector, labelled: Predictions, batch: int, device: torch.device) -> None:
    if hasattr(selector, "fit"):
        everything = next(labelled.batches(max(1, len(labelled.logits)), device))
        selector.fit(  # type: ignore[operator]
            everything.logits, everything.labels, everything.valid, ignore_index=labelled.ignore_index
        )
    elif selector.needs.labels:
        for part in labelled.batches(batch, device):
            selector.update_from_labels(part.logits, part.labels, labelled.ignore_index)
