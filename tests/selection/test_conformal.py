"""ConformalSelector: Benjamini and Hochberg by hand, the error rate that it promises, what it refuses."""

import copy
import itertools
import statistics
from functools import cache

import pytest
import torch
from torch import Tensor

from residual_ssl.diagnostics import coverage_at_risk
from residual_ssl.errors import InvalidInputError, NotFittedError
from residual_ssl.selection import ConformalSelector
from residual_ssl.testing import SelectorContract, random_logits


def drawn(count: int, seed: int, *, scale: float = 3.0, skill: float = 1.0) -> tuple[Tensor, Tensor]:
    """Logits of points and labels that they predict, with probabilities as sharp as ``skill`` says."""
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(count, 5, generator=generator, dtype=torch.float64)
    labels = (skill * logits).softmax(1).multinomial(1, generator=generator)[:, 0]
    return logits, labels


@cache
def fitted(classes: int = 5) -> ConformalSelector:
    logits = random_logits((6, classes, 14, 12), seed=11)
    labels = logits.argmax(1)
    labels[:, ::3] = (labels[:, ::3] + 1) % classes
    return ConformalSelector(0.2).fit(logits, labels)


class TestOverTheBatch(SelectorContract):
    per_sample = False

    def make(self) -> ConformalSelector:
        return copy.deepcopy(fitted())


def test_the_points_are_those_of_the_procedure_by_hand() -> None:
    known, labels = drawn(80, 0)
    labels[3] = -1  # of none of the classes: whatever is predicted is wrong
    labels[4] = 255  # not known
    pool, _ = drawn(60, 1)
    level = 0.15
    selector = ConformalSelector(level).fit(known, labels)

    def score(logits: Tensor) -> float:
        p = logits.softmax(0).max()
        return float((p / (1 - p)).log())

    wrong = [score(x) for x, y in zip(known, labels, strict=True) if y != 255 and x.argmax() != y]
    share = (1 + len(wrong)) / (1 + 79)
    p = [(1 + sum(other >= score(x) for other in wrong)) / (1 + len(wrong)) for x in pool]
    largest = max((k for k in range(1, 61) if share * sorted(p)[k - 1] * 60 / k <= level), default=0)
    cut = sorted(p)[largest - 1] if largest else 0
    expected = [value <= cut for value in p]
    assert selector(pool).trusted.tolist() == expected
    assert 0 < sum(expected) < 60


@pytest.mark.parametrize("level", [0.05, 0.1])
@pytest.mark.parametrize("skill", [1.0, 0.4], ids=["calibrated", "overconfident"])
def test_the_share_of_wrong_labels_stays_below_the_level(level: float, skill: float) -> None:
    errors, coverages, best = [], [], []
    for seed in range(200):
        known, labels = drawn(300, seed, skill=skill, scale=5)
        pool, truth = drawn(400, 10_000 + seed, skill=skill, scale=5)
        chosen = ConformalSelector(level).fit(known, labels)(pool)
        right = chosen.label == truth
        errors.append(float((~right & chosen.trusted).sum() / chosen.trusted.sum().clamp(min=1)))
        coverages.append(float(chosen.coverage))
        best.append(float(coverage_at_risk(chosen.confidence, right, level)))
    error = statistics.stdev(errors) / len(errors) ** 0.5
    assert statistics.mean(errors) <= level + 2 * error
    # Of the coverage that the best threshold in hindsight has at this error rate.
    assert statistics.mean(coverages) >= 0.5 * statistics.mean(best)


def test_each_image_is_judged_alone_where_samples_are_the_scope() -> None:
    logits = random_logits((3, 5, 8, 8), seed=2)
    selector = copy.deepcopy(fitted())
    selector.scope = "sample"
    together = selector(logits).trusted
    assert torch.equal(together, torch.cat([selector(image).trusted for image in logits.split(1)]))


def test_more_is_trusted_at_a_higher_level() -> None:
    known, labels = drawn(300, 0, scale=5)
    pool, _ = drawn(400, 1, scale=5)
    chosen = [ConformalSelector(level).fit(known, labels)(pool).trusted for level in (0.02, 0.05, 0.1, 0.3)]
    counts = [int(trusted.sum()) for trusted in chosen]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]
    assert all(bool((more | ~less).all()) for less, more in itertools.pairwise(chosen))


def test_where_all_held_out_predictions_are_right_everything_is_trusted() -> None:
    logits, _ = drawn(40, 0)
    assert ConformalSelector(0.05).fit(logits, logits.argmax(1))(drawn(9, 1)[0]).trusted.all()


def test_too_few_labels_are_said_to_be_too_few() -> None:
    logits, labels = drawn(18, 0)
    with pytest.raises(InvalidInputError, match=r"got 18 labelled predictions, expected at least 19 for level 0.05"):
        ConformalSelector(0.05).fit(logits, labels)
    ConformalSelector(0.05).fit(*drawn(19, 0))


def test_use_before_fit_and_levels_that_are_no_shares_are_refused() -> None:
    with pytest.raises(NotFittedError, match="used before fit"):
        ConformalSelector()(torch.zeros(2, 3))
    for level in (0.0, 1.0, 5):
        with pytest.raises(InvalidInputError, match="level: got"):
            ConformalSelector(level)
    with pytest.raises(InvalidInputError, match="labels: got class id -2"):
        ConformalSelector(0.5).fit(torch.zeros(3, 4), torch.tensor([0, -2, 1]))
