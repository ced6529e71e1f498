"""Two passes over the parts of a pool judge as one pass over everything in memory."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from residual_ssl.errors import DataError
from residual_ssl.runtime.files import atomic_file
from residual_ssl.selection import (
    ConfidentShare,
    ConstrainedConvexSelector,
    ConvexSelector,
    FixedThreshold,
    Selection,
    Selector,
    TopFraction,
)
from residual_ssl.selection.pool import PoolStatistics, decide, judges_pool, summarise
from residual_ssl.testing import assert_same, random_logits

CLASSES = 5
SHAPES = [(4000, CLASSES), (24, CLASSES, 12, 14)]
# What the docstrings state: width of a bin of confidence, and of 1 - c above 7/8; of r/c.
EVEN, RELATIVE, DIRECTION = 1 / 256, 2 ** (1 / 32) - 1, 2 ** (1 / 24) - 1


def predictions(shape: tuple[int, ...]) -> Tensor:
    logits = random_logits(shape, torch.float32)
    logits[0] = math.nan  # one broken sample, which nobody counts
    return logits


def in_two_passes(selector: Selector, logits: Tensor, parts: int = 7) -> Selection:
    """Statistics of each part, added up in any order; one decision; then each part by itself."""
    chunks = logits.chunk(parts)
    statistics = PoolStatistics.total([summarise(chunk, selector) for chunk in reversed(chunks)], CLASSES)
    decided = decide(selector, statistics)
    chosen = [decided(chunk) for chunk in chunks]
    names = ("label", "weight", "trusted", "valid", "confidence", "residual")
    return Selection(*(torch.cat([getattr(one, name) for one in chosen]) for name in names))


def width(confidence: Tensor) -> Tensor:
    """Largest width of the bin that a confidence is in."""
    return torch.maximum(torch.where(confidence < 0.875, EVEN, 0.0), RELATIVE * (1 - confidence)) + 1e-6


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("balance", ["none", "predicted", "labelled"])
@pytest.mark.parametrize("fraction", [0.0, 0.03, 0.4, 0.9, 1.0])
def test_top_fractions_differ_within_a_bin_of_the_threshold(
    shape: tuple[int, ...], balance: Any, fraction: float
) -> None:
    logits = predictions(shape)
    selector = TopFraction(10, fraction, fraction, balance)
    if balance == "labelled":
        target = torch.arange(400) % 3  # classes 3 and 4 have no label and get no budget
        selector.update_from_labels(random_logits((400, CLASSES), torch.float32), target)
    selector.eval()
    one, two = selector(logits), in_two_passes(selector, logits)
    for label in range(CLASSES):
        own = one.valid & (one.label == label) if balance != "none" else one.valid
        differ = own & (one.trusted != two.trusted)
        kept = own & one.trusted
        if not differ.any():
            continue
        threshold = one.confidence[kept].min() if kept.any() else one.confidence[own].max()
        assert ((one.confidence[differ] - threshold).abs() <= width(threshold)).all()
    # Of two edges around the threshold one is at most half of the bin's points away from the budget.
    for label in range(CLASSES) if balance != "none" else [None]:
        own = one.valid & ((one.label == label) if label is not None else True)
        kept = own & one.trusted
        threshold = one.confidence[kept].min() if kept.any() else torch.tensor(1.0)
        near = own & ((one.confidence - threshold).abs() <= width(threshold))
        assert abs(int((own & two.trusted).sum()) - int(kept.sum())) <= int(near.sum()) / 2 + 1


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("background", [None, 2])
def test_the_confident_share_differs_by_the_points_of_a_bin(shape: tuple[int, ...], background: int | None) -> None:
    logits = predictions(shape)
    selector = ConfidentShare(0.9, scope="batch", background=background).eval()
    one, two = selector(logits), in_two_passes(selector, logits)
    counted = one.valid & (one.label != (-1 if background is None else background))
    near = counted & ((one.confidence - 0.9).abs() <= width(torch.tensor(0.9)))
    assert two.weight[two.valid].unique().numel() == 1
    assert (two.weight - one.weight).abs().max() <= near.sum() / counted.sum() + 1e-6
    assert 0 < one.weight.max() < 1


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("options", [{}, {"variant": "covar"}, {"residual": "released"}, {"gamma": 0.02}], ids=str)
def test_the_convex_program_of_the_pool_differs_by_the_points_at_the_border(
    shape: tuple[int, ...], options: dict[str, Any]
) -> None:
    logits = predictions(shape)
    selector = ConvexSelector(scope="batch", **options).eval()
    one, two = selector(logits), in_two_passes(selector, logits)
    partition = selector.partition(logits)
    # Where the border lies within a bin of directions, the bin goes to one side: these points, and no others, move.
    c, r = one.confidence[one.valid].double(), one.residual[one.valid].double()
    inside = partition.reliable[0][one.valid.flatten()].bool()
    ratio = r / c
    border = min((float(ratio[~inside].min()), float(ratio[inside].min())), key=lambda x: -x)
    moved = ((ratio / border).log2().abs() <= 2 / 24).double().mean()
    assert moved < 0.05
    difference = (two.weight - one.weight).abs()
    assert difference.mean() <= 3 * moved + 1e-4
    assert (two.trusted != one.trusted).double().mean() <= 3 * moved + 1e-3


def test_moments_are_exact_where_no_bin_is_cut() -> None:
    # Two clusters far apart: no point near the border.
    generator = torch.Generator().manual_seed(0)
    sure = torch.zeros(300, CLASSES)
    sure[:, 1] = 9 + torch.rand(300, generator=generator)
    torn = torch.zeros(200, CLASSES)
    torn[:, :2] = 2 + 0.1 * torch.rand(200, 2, generator=generator)
    logits = torch.cat([sure, torn]).double()
    selector = ConvexSelector().eval()
    assert_same(in_two_passes(selector, logits), selector(logits), atol=1e-7, rtol=1e-7)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_constrained_selection_of_a_pool_keeps_budget_and_shares_as_that_of_one_batch(shape: tuple[int, ...]) -> None:
    logits = predictions(shape)
    prior = [0.3, 0.1, 0.2, 0.2, 0.2]
    selector = ConstrainedConvexSelector(CLASSES, prior=prior, band=0.5, coverage=(0.1, 0.3), bins=16).eval()
    one, two = selector(logits), in_two_passes(selector, logits)
    assert abs(float(two.coverage) - 0.3) < 0.002
    masses = torch.stack([two.weight[two.label == k].sum() for k in range(CLASSES)])
    assert abs(float(masses[1] / masses.sum()) - 0.15) < 0.002  # the upper end of its band
    assert (two.weight - one.weight).abs().mean() < 0.002
    assert (two.weight - one.weight).abs().max() < 0.05


def test_parts_and_their_order_do_not_matter() -> None:
    logits = predictions(SHAPES[0])
    selector = TopFraction()
    whole = summarise(logits, selector)
    for parts in (2, 9):
        total = PoolStatistics.total([summarise(x, selector) for x in reversed(logits.chunk(parts))], CLASSES)
        assert torch.equal(total.confidence, whole.confidence)
        torch.testing.assert_close(total.directions, whole.directions)
    valid = logits.isfinite().all(1)
    assert whole.points == int(valid.sum()) == len(logits) - 1


def test_statistics_take_kilobytes_and_are_read_as_they_were_written(tmp_path: Path) -> None:
    statistics = summarise(predictions(SHAPES[1]), TopFraction())
    with atomic_file(tmp_path / "part.npz") as file:
        statistics.save(file)
    assert (tmp_path / "part.npz").stat().st_size < 40_000
    found = PoolStatistics.load(tmp_path / "part.npz")
    assert torch.equal(found.confidence, statistics.confidence)
    assert torch.equal(found.directions, statistics.directions)
    assert found.spatial
    (tmp_path / "part.npz").write_bytes(b"PK")
    with pytest.raises(DataError, match="remove it, and it is made again"):
        PoolStatistics.load(tmp_path / "part.npz")


@pytest.mark.parametrize(
    ("selector", "of_classes", "of_pixels"),
    [
        (TopFraction(), True, True),
        (TopFraction(scope="sample"), False, False),
        (ConfidentShare(), False, False),
        (ConfidentShare(scope="batch"), True, True),
        (ConvexSelector(), True, False),
        (ConvexSelector(scope="window"), True, True),
        (ConvexSelector(scope="batch", temperature=0.1), False, False),
        (FixedThreshold(), False, False),
        (ConstrainedConvexSelector(CLASSES), True, True),
    ],
    ids=repr,
)
def test_which_selectors_are_decided_for_the_pool(selector: Selector, of_classes: bool, of_pixels: bool) -> None:
    assert judges_pool(selector, spatial=False) == of_classes
    assert judges_pool(selector, spatial=True) == of_pixels


def test_a_selector_that_judges_points_by_themselves_stays_what_it_is() -> None:
    selector = FixedThreshold()
    assert decide(selector, summarise(predictions(SHAPES[0]), selector)) is selector


def test_a_window_that_a_training_has_filled_goes_on_to_be_compared_with() -> None:
    selector = ConvexSelector(scope="window", window=100)
    selector(random_logits((50, CLASSES), torch.float32))
    assert not judges_pool(selector.eval(), spatial=False)
    assert decide(selector, summarise(predictions(SHAPES[0]), selector)) is selector


def test_an_empty_pool_decides_without_an_error() -> None:
    for selector in (TopFraction(), ConfidentShare(scope="batch"), ConvexSelector()):
        decided = decide(selector.eval(), PoolStatistics.empty(CLASSES))
        assert decided(random_logits((3, CLASSES), torch.float32)).weight.isfinite().all()
