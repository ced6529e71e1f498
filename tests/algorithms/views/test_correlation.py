"""CorrMatch's propagation: the map, its regions and what they take by loops, and that it trains."""

import math
from pathlib import Path

import pytest
import torch
from helpers.tiny_runs import PlainSegmenter, tiny_config, tiny_digits
from torch import Tensor

from residual_ssl import Selection, evaluate, train
from residual_ssl.algorithms.views.correlation import Correlated, grown, segments_of
from residual_ssl.engine.records.run_log import read_log


def test_propagated_logits_are_sums_over_points_by_their_correlation() -> None:
    torch.manual_seed(0)
    model = Correlated(PlainSegmenter(3), 16, 3, hidden=8)
    x = torch.randn(2, 3, 8, 12)
    with torch.no_grad():
        logits, spread, correlation = model(x, correlated=True)
        torch.testing.assert_close(logits, model(x))
        features = model.network.encode(x)[-1]  # type: ignore[operator]
    assert spread.shape == (2, 3, 4, 6)
    assert correlation.shape == (2, 24, 24)
    with torch.no_grad():
        for b, j in ((0, 0), (1, 17)):
            expected = torch.zeros(3)
            for i in range(24):
                shared = model.projection(features[b].flatten(1).T)
                scores = [model.from_point(shared[i]) @ model.to_point(shared[k]) / math.sqrt(3) for k in range(24)]
                weight = torch.stack(scores).softmax(0)[j]
                expected += weight * logits[b, :, 2 * (i // 6) + 1, 2 * (i % 6) + 1]
            torch.testing.assert_close(spread[b].flatten(1)[:, j], expected)


def test_no_gradient_reaches_the_logits_and_the_map_learns() -> None:
    model = Correlated(PlainSegmenter(3), 16, 3, hidden=8)
    _, spread, _ = model(torch.randn(1, 3, 8, 8), correlated=True)
    spread.square().sum().backward()
    assert model.from_point.weight.grad is not None
    assert model.network.head.weight.grad is None  # type: ignore[union-attr]


def test_a_region_is_what_correlates_more_than_halfway() -> None:
    correlation = torch.tensor([[[0.4, 0.4, 0.1, 0.1], [0.2, 0.35, 0.3, 0.15], [0.25] * 4, [0.1, 0.1, 0.1, 0.7]]])
    torch.manual_seed(0)
    found = segments_of(correlation, (2, 2), (4, 2), 4)
    assert found.shape == (1, 4, 4, 2)
    expected = {(1, 1, 0, 0), (0, 1, 1, 0), (0, 0, 0, 0), (0, 0, 0, 1)}
    assert {tuple(int(v) for v in region[::2].flatten()) for region in found[0]} == expected
    assert torch.equal(found[:, :, 0], found[:, :, 1])


def selection(label: list[int], trusted: list[bool], valid: list[bool] | None = None) -> Selection:
    sure = torch.tensor([trusted])
    weight = sure.float()
    everywhere = torch.ones_like(sure) if valid is None else torch.tensor([valid])
    return Selection(torch.tensor([label]), weight, sure, everywhere, weight, torch.zeros_like(weight))


def regions(*rows: str) -> Tensor:
    return torch.tensor([[[c == "x" for c in row] for row in rows]])


def test_regions_that_are_trusted_and_agree_are_taken_as_a_whole() -> None:
    chosen = selection([1, 1, 1, 2, 0, 0, 2, 1], [True, True, True, False, True, True, True, False])
    found = grown(
        chosen,
        regions(
            "xxxx....",  # three of four trusted, all of class 1: taken
            "...xxx..",  # two of three trusted, of class 0: taken, later
            "......xx",  # half trusted: not taken
            "....xxx.",  # all trusted, two of three of class 0: not by a share of .7
        ),
        0.7,
        3,
    )
    assert found.label.tolist() == [[1, 1, 1, 1, 0, 0, 2, 1]]
    assert found.weight.tolist() == [[1, 1, 1, 1, 1, 1, 1, 0]]
    found = grown(chosen, regions("xxxx....", "...xxx.."), 0.6, 3)
    assert found.label.tolist() == [[1, 1, 1, 0, 0, 0, 2, 1]]


def test_points_that_are_not_valid_neither_count_nor_are_taken() -> None:
    chosen = selection([1, 1, 1], [True, False, False], [True, True, False])
    assert grown(chosen, regions("x.x"), 0.9, 2).weight.tolist() == [[1.0, 0.0, 0.0]]
    assert grown(chosen, regions("xxx"), 0.5, 2).weight.tolist() == [[1.0, 1.0, 0.0]]


@pytest.mark.filterwarnings("ignore::residual_ssl.errors.ResidualSSLWarning")
def test_it_trains_pixels_and_its_run_is_evaluated(tmp_path: Path) -> None:
    short = ["steps=2", "evaluate_every=2", "warmup_steps=0"]
    result = train(tiny_config(tmp_path / "run", "algorithm=corrmatch_propagation", "selector.start=0.1", *short))
    rows = [row for row in read_log(tmp_path / "run") if "train/loss_propagated_unlabelled" in row]
    assert len(rows) == 2
    assert all(row["train/loss_propagated_labelled"] > 0 for row in rows)
    again = evaluate(tmp_path / "run", checkpoint_name="last.pt", device="cpu")
    assert again["miou"] == pytest.approx(result.last["miou"], abs=1e-4)


@pytest.mark.filterwarnings("ignore::residual_ssl.errors.ResidualSSLWarning")
def test_it_trains_whole_samples(tmp_path: Path) -> None:
    train(tiny_digits(tmp_path / "run", "algorithm=corrmatch_propagation"))
    assert any("train/loss_propagated_labelled" in row for row in read_log(tmp_path / "run"))
