"""Diagnostics of streams against their definitions on all points at once."""

import math
import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from residual_ssl import FixedThreshold, Selection
from residual_ssl.diagnostics import RiskCoverage, SelectionDiagnostics, SelectionMetrics, aurc
from residual_ssl.errors import InvalidInputError
from residual_ssl.selection import TrustAll

CLASSES = 5


def random_selection(seed: int = 0, shape: tuple[int, ...] = (6, 8, 9)) -> tuple[Selection, Tensor]:
    """Weights 0, 1 and between; class 3 never in the truth, class 4 never predicted; some points without a label."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(shape[0], CLASSES, *shape[1:], generator=generator)
    logits[:, 4] = -20
    logits[0, 0, :2] = torch.nan
    valid = torch.rand(shape, generator=generator) < 0.9
    chosen = TrustAll()(logits, valid)
    level = (torch.randint(-1, 4, shape, generator=generator) / 2).clamp(0, 1)
    weight = torch.where(level == 0.5, torch.rand(shape, generator=generator), level) * chosen.valid
    noise = torch.randint(0, 3, shape, generator=generator)
    truth = torch.where((torch.rand(shape, generator=generator) < 0.7) & (chosen.label < 3), chosen.label, noise)
    truth[torch.rand(shape, generator=generator) < 0.1] = 255
    selection = Selection(
        chosen.label, weight, chosen.valid & (weight == 1), chosen.valid, chosen.confidence, chosen.residual
    )
    return selection, truth


def chunks(selection: Selection, truth: Tensor, count: int) -> list[tuple[Selection, Tensor]]:
    size = len(truth) // count
    parts = [slice(i * size, (i + 1) * size) for i in range(count)]
    return [(selection.map(lambda points, part=part: points[part]), truth[part]) for part in parts]  # type: ignore[misc]


def figures(parts: list[tuple[Selection, Tensor]]) -> SelectionMetrics:
    metric = SelectionDiagnostics(CLASSES)
    for selection, truth in parts:
        metric.update(selection, truth)
    return metric.compute()


def assert_same(one: SelectionMetrics, other: SelectionMetrics) -> None:
    for name in SelectionMetrics._fields:
        torch.testing.assert_close(
            getattr(one, name),
            getattr(other, name),
            rtol=0,
            atol=1e-12,
            equal_nan=True,
            msg=lambda m, n=name: f"{n}: {m}",
        )


def test_figures_follow_their_definitions() -> None:
    selection, truth = random_selection()
    found = figures([(selection, truth)])
    known = selection.valid & (truth != 255)
    label, y, w, c = (
        x[known].tolist() for x in (selection.label, truth, selection.weight.double(), selection.confidence)
    )
    points = list(zip(label, y, w, c, strict=True))
    n = len(points)

    def share(values: list[float], of: float) -> float:
        return sum(values) / of if of else math.nan

    expected = {
        "points": n,
        "coverage": share(w, n),
        "purity": share([w for k, t, w, _ in points if k == t], sum(w)),
        "trusted": share([w == 1 for w in w], n),
        "accuracy": share([k == t for k, t, *_ in points], n),
    }
    for name, value in expected.items():
        assert getattr(found, name).item() == pytest.approx(value), name
    for k in range(CLASSES):
        own = [(t, w) for label, t, w, _ in points if label == k]
        weight, right = sum(w for _, w in own), sum(w for t, w in own if t == k)
        assert found.class_points[k] == len(own)
        for name, value in (
            ("class_coverage", share([weight], len(own))),
            ("class_purity", share([right], weight)),
            ("class_taught", share([right], sum(t == k for t in y))),
        ):
            assert getattr(found, name)[k].item() == pytest.approx(value, nan_ok=True), (name, k)
    gap = 0.0
    for b in range(15):
        inside = [(c, k == t) for k, t, _, c in points if b / 15 < c <= (b + 1) / 15]
        gap += abs(sum(c for c, _ in inside) - sum(hit for _, hit in inside)) / n
    assert found.calibration_error.item() == pytest.approx(gap)


def test_a_class_is_covered_where_a_hundredth_of_its_true_points_is_taught_rightly() -> None:
    label = torch.arange(3).repeat_interleave(200)
    truth = label.clone()
    weight = torch.zeros(600)
    weight[0] = 1  # 1 of 200
    weight[200:202] = 1  # 2 of 200
    weight[400:600], truth[400:599] = 1, 0  # class 2: 200 selected, one right, of one true point
    selection = Selection(label, weight, weight == 1, torch.ones(600, dtype=torch.bool), torch.ones(600), weight)
    assert figures([(selection, truth)]).classes_covered == 2 / 3


def test_rankings_are_those_of_the_weight_alone_and_with_confidence_among_full_and_among_no_weight() -> None:
    selection, truth = random_selection()
    found = figures([(selection, truth)])
    known = selection.valid & (truth != 255)
    weight, confidence = selection.weight[known].double(), selection.confidence[known].double()
    right = (selection.label == truth)[known]
    ordered = torch.where(weight == 1, 2 + confidence, torch.where(weight == 0, confidence - 2, weight))
    for curve, score in ((found.by_weight, weight), (found.by_weight_and_confidence, ordered)):
        assert (curve.aurc - aurc(score, right)).abs() <= curve.aurc_error + 1e-12
        assert curve.aurc_error < 1e-2
    assert found.by_weight_and_confidence.aurc < found.by_weight.aurc


def test_a_threshold_ranks_as_confidence_does_once_ties_are_ordered_by_it() -> None:
    logits = 2 * torch.randn(500, CLASSES, generator=torch.Generator().manual_seed(0))
    truth = torch.randint(0, CLASSES, (500,), generator=torch.Generator().manual_seed(1))
    everything, threshold = (figures([(rule(logits), truth)]) for rule in (TrustAll(), FixedThreshold(0.8)))
    confidence = everything.by_weight_and_confidence
    torch.testing.assert_close(threshold.by_weight_and_confidence.aurc, confidence.aurc)
    assert threshold.by_weight.aurc > confidence.aurc
    torch.testing.assert_close(confidence.purity_at(threshold.coverage), threshold.purity, rtol=0, atol=2e-3)


def test_chunks_give_what_all_points_at_once_give() -> None:
    selection, truth = random_selection()
    assert_same(figures(chunks(selection, truth, 3)), figures([(selection, truth)]))


def test_merged_states_give_what_one_metric_gives() -> None:
    selection, truth = random_selection()
    metrics = []
    for part, labels in chunks(selection, truth, 2):
        metrics.append(SelectionDiagnostics(CLASSES))
        metrics[-1].update(part, labels)
    metrics[0].merge_state(metrics[1])
    assert_same(metrics[0].compute(), figures([(selection, truth)]))


def _measure(rank: int, folder: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/store", 2), rank=rank, world_size=2)
    try:
        found = figures([chunks(*random_selection(), 2)[rank]])
    finally:
        dist.destroy_process_group()
    rankings = {name: tuple(getattr(found, name)) for name in ("by_weight", "by_weight_and_confidence")}
    torch.save(found._asdict() | rankings, f"{folder}/{rank}.pt")


def _measure_as_second(_: int, folder: str) -> None:
    _measure(1, folder)


def test_two_processes_find_what_one_finds(tmp_path: Path) -> None:
    expected = figures([random_selection()])
    second = mp.spawn(_measure_as_second, (str(tmp_path),), nprocs=1, join=False)  # this process is the first
    _measure(0, str(tmp_path))
    while not second.join():
        pass
    for rank in range(2):
        stored = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, value in expected._asdict().items():
            torch.testing.assert_close(
                stored[name], tuple(value) if isinstance(value, tuple) else value, equal_nan=True
            )


def test_reset_forgets_everything() -> None:
    selection, truth = random_selection()
    metric = SelectionDiagnostics(CLASSES)
    metric.update(selection, truth)
    metric.reset()
    metric.update(*random_selection(1))
    assert_same(metric.compute(), figures([random_selection(1)]))


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (torch.zeros(3, dtype=torch.int64), r"truth: got torch.int64 of shape \(3,\), expected .* of shape \(2,\)"),
        (torch.zeros(2), r"truth: got torch.float32"),
        (torch.tensor([0, 9]), r"truth: got class id 9, expected ids in \[0, 5\) or ignore_index 255"),
    ],
)
def test_a_truth_that_does_not_fit_is_named(truth: Tensor, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        SelectionDiagnostics(CLASSES).update(TrustAll()(torch.zeros(2, CLASSES)), truth)


def test_a_weight_above_one_is_named() -> None:
    chosen = TrustAll()(torch.zeros(2, CLASSES))
    heavy = Selection(chosen.label, 2 * chosen.weight, chosen.trusted, chosen.valid, chosen.confidence, chosen.residual)
    with pytest.raises(InvalidInputError, match="weight: got values from 2 to 2"):
        SelectionDiagnostics(CLASSES).update(heavy, torch.zeros(2, dtype=torch.int64))


@pytest.mark.parametrize("correct", [torch.ones(3), torch.ones(2, dtype=torch.bool)])
def test_wrong_arguments_of_a_ranking_are_named(correct: Tensor) -> None:
    with pytest.raises(InvalidInputError, match=r"score, correct: got torch\.float32 of shape"):
        RiskCoverage().update(torch.zeros(3), correct)
