"""certainty: each score computed by hand, invariances, and what TopFraction keeps by it."""

import math
from typing import get_args

import pytest
import torch
from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.selection import TopFraction, certainty
from residual_ssl.selection.features import judged_points
from residual_ssl.selection.points.certainty import Score
from residual_ssl.testing import SelectorContract, random_logits

SCORES = get_args(Score)


def by_hand(x: list[float], score: str) -> float:
    whole = sum(math.exp(v) for v in x)
    p = sorted((math.exp(v) / whole for v in x), reverse=True)
    if score == "confidence":
        return p[0]
    if score == "margin":
        return p[0] - p[1]
    if score == "entropy":
        return sum(v * math.log(v) for v in p)
    if score == "energy":
        return math.log(whole)
    if score == "pnorm":
        centred = [v - sum(x) / len(x) for v in x]
        return max(centred) / sum(abs(v) ** 5 for v in centred) ** 0.2
    return -sum((v * (1 - v)) ** 0.1 for v in p[:100])


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("classes", [2, 5, 130])
def test_scores_are_those_of_their_formulas(score: Score, classes: int) -> None:
    logits = random_logits((3, classes, 4))
    found = certainty(logits, judged_points(logits), score)
    assert found.shape == (3, 4)
    expected = [[by_hand(logits[b, :, s].tolist(), score) for s in range(4)] for b in range(3)]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("score", [score for score in SCORES if score != "energy"])
def test_a_shift_of_the_logits_changes_no_score_but_energy(score: Score) -> None:
    logits = random_logits((2, 6, 5))
    shifted = logits + torch.linspace(-3, 3, 5, dtype=torch.float64)
    one, other = (certainty(x, judged_points(x), score) for x in (logits, shifted))
    torch.testing.assert_close(one, other)
    assert not torch.allclose(*(certainty(x, judged_points(x), "energy") for x in (logits, shifted)))


@pytest.mark.parametrize("score", SCORES)
def test_the_more_one_class_stands_out_the_more_certain(score: Score) -> None:
    rising = torch.zeros(8, 4)
    rising[:, 2] = torch.linspace(0.5, 6, 8)
    found = certainty(rising, judged_points(rising), score)
    assert (found.diff() >= -1e-6).all()
    assert found[-1] > found[0] or score == "pnorm", "one class above equal others is one direction"


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(score: Score, dtype: torch.dtype) -> None:
    logits = random_logits((2, 6, 5), dtype)
    found = certainty(logits, judged_points(logits), score)
    assert found.dtype == torch.float32
    wide = logits.float()
    torch.testing.assert_close(found, certainty(wide, judged_points(wide), score))


def test_another_name_is_refused() -> None:
    logits = torch.zeros(2, 3)
    with pytest.raises(InvalidInputError, match="score: got 'odds', expected one of confidence, margin"):
        certainty(logits, judged_points(logits), "odds")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="score: got 'odds'"):
        TopFraction(score="odds")  # type: ignore[arg-type]


class TestByMargin(SelectorContract):
    per_sample = False

    def make(self) -> TopFraction:
        return TopFraction(10, score="margin")


class TestByGeneralisedEntropyInAWindow(SelectorContract):
    per_sample = False

    def make(self) -> TopFraction:
        return TopFraction(10, 0.4, balance="none", score="gen", scope="window", window=300)


@pytest.mark.parametrize("score", SCORES)
def test_a_share_is_kept_by_the_score_and_not_by_confidence(score: Score) -> None:
    logits = random_logits((1, 5, 200), torch.float32)
    selector = TopFraction(fraction=0.3, final=0.3, balance="none", score=score)
    chosen = selector(logits)
    values: Tensor = certainty(logits, judged_points(logits), score)[0]
    assert set(values.topk(60).indices.tolist()) == set(chosen.trusted[0].nonzero().flatten().tolist())
