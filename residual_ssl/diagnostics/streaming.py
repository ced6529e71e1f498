"""Diagnostics of any number of points, batch by batch, on any number of processes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from residual_ssl.diagnostics.binned import (
    REDUCTIONS,
    BinnedRanking,
    RankingCurve,
    empty_ranking,
    extended,
    ranking_curve,
)
from residual_ssl.errors import InvalidInputError
from residual_ssl.selection import Selection

_CALIBRATION_BINS = 15
_COVERED = 0.01
_REJECTED, _PARTIAL, _FULL = range(3)


class RiskCoverage(Metric):  # type: ignore[misc]
    """Risk–coverage curve of a score in [0, 1] over a stream of points, never all in memory.

    ``update(score, correct)`` takes tensors of one shape, floating and bool. ``compute()`` returns a
    :class:`RankingCurve`, which states how far it can be from the exact one. A torchmetrics metric: it moves to a
    device as a module does, and ``compute`` adds up the processes of a distributed run.

    Raises:
        InvalidInputError: other shapes or dtypes, a score outside [0, 1] or NaN.

    Example:
        >>> import torch
        >>> metric = RiskCoverage()
        >>> metric.update(torch.tensor([0.9, 0.8]), torch.tensor([True, True]))
        >>> metric.update(torch.tensor([0.7, 0.6]), torch.tensor([False, True]))
        >>> curve = metric.compute()
        >>> [round(value, 2) for value in curve.risk_at(torch.tensor([0.5, 0.75, 1.0])).tolist()]
        [0.0, 0.33, 0.25]
        >>> round(curve.aurc.item(), 3), curve.aurc_error.item()
        (0.146, 0.0)
    """

    full_state_update = False
    higher_is_better = False

    def __init__(self) -> None:
        super().__init__()
        _declare(self, "score")

    def update(self, score: Tensor, correct: Tensor) -> None:
        if not score.is_floating_point() or correct.dtype != torch.bool or score.shape != correct.shape:
            raise InvalidInputError(
                f"score, correct: got {score.dtype} of shape {tuple(score.shape)} and {correct.dtype} of shape "
                f"{tuple(correct.shape)}, expected a floating and a bool tensor of one shape"
            )
        _store(self, "score", extended(_stored(self, "score"), score.flatten(), correct.flatten()))

    def compute(self) -> RankingCurve:
        return ranking_curve(_stored(self, "score"))


class SelectionMetrics(NamedTuple):
    """How good selections were, over the valid points with a known label; see :class:`SelectionDiagnostics`.

    Attributes:
        points: their number N, int64.
        coverage: ``Σ w / N``.
        purity: share of the selected weight on right labels, ``Σ w·[y = truth] / Σ w``; NaN where nothing is selected.
        trusted: share of the points with full trust.
        accuracy: share of right labels among all points.
        calibration_error: expected calibration error of the confidence, in 15 bins of equal width.
        classes_covered: share of the classes in the truth of which at least 1 % is taught rightly.
        class_points: number of points predicted as each class, int64 ``(K,)``.
        class_coverage, class_purity: coverage and purity by predicted class, ``(K,)``; NaN where never predicted, or
            never selected.
        class_taught: share of each true class's points with the right label, by their weight, ``(K,)``; NaN where
            the truth has none.
        by_weight: ranking by the weight, ties as the mean over their orders.
        by_weight_and_confidence: the same with the points of weight 1, and those of weight 0, ordered by confidence.

    All floating, in [0, 1], float64 on the CPU.
    """

    points: Tensor
    coverage: Tensor
    purity: Tensor
    trusted: Tensor
    accuracy: Tensor
    calibration_error: Tensor
    classes_covered: Tensor
    class_points: Tensor
    class_coverage: Tensor
    class_purity: Tensor
    class_taught: Tensor
    by_weight: RankingCurve
    by_weight_and_confidence: RankingCurve


class SelectionDiagnostics(Metric):  # type: ignore[misc]
    """Metrics of a selector's selections over a stream of batches, never all in memory.

    ``update(selection, truth)`` takes a :class:`~residual_ssl.Selection` and int64 class ids of its shape;
    ``compute()`` returns :class:`SelectionMetrics`. Points that are not valid or have no known label do not count, in
    coverage neither. A torchmetrics metric, as :class:`RiskCoverage`.

    Args:
        num_classes: K.
        ignore_index: id of points without a known label.

    Raises:
        InvalidInputError: a truth of another shape or with ids outside [0, K); a weight or a confidence outside [0, 1].

    Source: expected calibration error: Guo et al., On calibration of modern neural networks, ICML 2017, eq. 3.

    Example:
        >>> import torch
        >>> from residual_ssl import FixedThreshold
        >>> selector, diagnostics = FixedThreshold(0.9), SelectionDiagnostics(num_classes=2)
        >>> for logits, truth in (([4.0, 0.0], 0), ([0.0, 4.0], 0), ([0.0, 0.1], 1)):
        ...     diagnostics.update(selector(torch.tensor([logits])), torch.tensor([truth]))
        >>> metrics = diagnostics.compute()
        >>> metrics.points.item(), round(metrics.coverage.item(), 2), metrics.purity.item()
        (3, 0.67, 0.5)
    """

    full_state_update = False

    # By class: points predicted as it, points that are it, points of full trust, weight, weight on right labels.
    class_points: Tensor
    class_truth: Tensor
    class_trusted: Tensor
    class_weight: Tensor
    class_right_weight: Tensor
    calibration_gap: Tensor

    def __init__(self, num_classes: int, ignore_index: int = 255) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        for name, dtype in (
            ("class_points", torch.int64),
            ("class_truth", torch.int64),
            ("class_trusted", torch.int64),
            ("class_weight", torch.float64),
            ("class_right_weight", torch.float64),
        ):
            self.add_state(name, torch.zeros(num_classes, dtype=dtype), dist_reduce_fx="sum")
        self.add_state("calibration_gap", torch.zeros(_CALIBRATION_BINS, dtype=torch.float64), dist_reduce_fx="sum")
        _declare(self, "weight")
        _declare(self, "weight_and_confidence", groups=3)

    def update(self, selection: Selection, truth: Tensor) -> None:
        self._check(selection, truth)
        known = selection.valid & (truth != self.ignore_index)
        label, truth, weight, confidence = (
            points[known] for points in (selection.label, truth, selection.weight, selection.confidence)
        )
        right = label == truth
        one, wide = torch.ones_like(label), weight.double()
        self.class_points = self.class_points.index_add(0, label, one)
        self.class_truth = self.class_truth.index_add(0, truth, one)
        self.class_trusted = self.class_trusted.index_add(0, label, selection.trusted[known].long())
        self.class_weight = self.class_weight.index_add(0, label, wide)
        self.class_right_weight = self.class_right_weight.index_add(0, label, wide * right)
        # Bins (b/15, (b+1)/15], as published.
        bin_index = (confidence.double() * _CALIBRATION_BINS).ceil().long().clamp(1) - 1
        self.calibration_gap = self.calibration_gap.index_add(0, bin_index, confidence.double() - right.double())
        _store(self, "weight", extended(_stored(self, "weight"), weight, right, name="weight"))
        group = torch.where(weight == 1, _FULL, torch.where(weight == 0, _REJECTED, _PARTIAL))
        score = torch.where(group == _PARTIAL, weight, confidence)
        both = extended(_stored(self, "weight_and_confidence"), score, right, group, name="confidence")
        _store(self, "weight_and_confidence", both)

    def compute(self) -> SelectionMetrics:
        predicted, true, weight, right = (
            state.cpu().double()
            for state in (self.class_points, self.class_truth, self.class_weight, self.class_right_weight)
        )
        count, selected = predicted.sum(), right / true
        return SelectionMetrics(
            points=self.class_points.sum().cpu(),
            coverage=weight.sum() / count,
            purity=right.sum() / weight.sum(),
            trusted=self.class_trusted.sum().cpu().double() / count,
            accuracy=self.weight_right.sum().cpu().double() / count,
            calibration_error=self.calibration_gap.abs().sum().cpu() / count,
            classes_covered=(selected >= _COVERED).double().sum() / (true > 0).sum(),
            class_points=self.class_points.cpu(),
            class_coverage=weight / predicted,
            class_purity=right / weight,
            class_taught=selected,
            by_weight=ranking_curve(_stored(self, "weight")),
            by_weight_and_confidence=ranking_curve(_stored(self, "weight_and_confidence")),
        )

    def _check(self, selection: Selection, truth: Tensor) -> None:
        if truth.shape != selection.label.shape or truth.is_floating_point() or truth.dtype == torch.bool:
            raise InvalidInputError(
                f"truth: got {truth.dtype} of shape {tuple(truth.shape)}, expected integer class ids of shape "
                f"{tuple(selection.label.shape)}, as the selection has"
            )
        strange = truth[((truth < 0) | (truth >= self.num_classes)) & (truth != self.ignore_index)]
        if strange.numel():
            raise InvalidInputError(
                f"truth: got class id {int(strange[0])}, expected ids in [0, {self.num_classes}) or ignore_index "
                f"{self.ignore_index}"
            )


def _declare(metric: Metric, name: str, groups: int = 1) -> None:
    for field, value in empty_ranking(groups)._asdict().items():
        metric.add_state(f"{name}_{field}", value, dist_reduce_fx=REDUCTIONS[field])


def _stored(metric: Metric, name: str) -> BinnedRanking:
    return BinnedRanking(*(getattr(metric, f"{name}_{field}") for field in BinnedRanking._fields))


def _store(metric: Metric, name: str, ranking: BinnedRanking) -> None:
    for field, value in ranking._asdict().items():
        setattr(metric, f"{name}_{field}", value)
