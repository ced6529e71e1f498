"""Rules of two predictions, point by point."""

import math

import pytest
import torch

from residual_ssl.errors import InvalidInputError
from residual_ssl.selection import AgreementThreshold, DMTWeight, UCCWeight
from residual_ssl.testing import SelectorContract, random_logits


class TestAgreement(SelectorContract):
    def make(self) -> AgreementThreshold:
        return AgreementThreshold(0.5)


class TestMutual(SelectorContract):
    def make(self) -> DMTWeight:
        return DMTWeight()


class TestDivergence(SelectorContract):
    def make(self) -> UCCWeight:
        return UCCWeight(0.5)


FIRST, SECOND = random_logits((60, 3), seed=1), random_logits((60, 3), seed=2)
PAIRS = list(zip(FIRST.softmax(1).tolist(), SECOND.softmax(1).tolist(), strict=True))


def test_agreement_needs_one_label_and_two_confidences() -> None:
    expected = [p.index(max(p)) == q.index(max(q)) and min(max(p), max(q)) >= 0.7 for p, q in PAIRS]
    assert AgreementThreshold(0.7)(FIRST, second=SECOND).trusted.tolist() == expected
    assert 0 < sum(expected) < 60


def test_mutual_weights_have_the_three_cases_of_the_paper() -> None:
    expected = []
    for p, q in PAIRS:
        y = p.index(max(p))
        if y == q.index(max(q)):
            expected.append(q[y] ** 3)
        else:
            expected.append(q[y] ** 2 if max(p) >= max(q) else 0.0)
    assert DMTWeight(3, 2)(FIRST, second=SECOND).weight.tolist() == pytest.approx(expected)
    assert 0.0 in expected


def test_divergence_weights_fall_with_the_distance_of_the_predictions() -> None:
    expected = [
        math.exp(-sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))) if max(p) >= 0.6 else 0.0
        for p, q in PAIRS
    ]
    assert UCCWeight(0.6)(FIRST, second=SECOND).weight.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("rule", [AgreementThreshold(0.0), DMTWeight(), UCCWeight(0.0)], ids=repr)
def test_points_where_the_second_prediction_is_not_finite_are_left_out(rule: AgreementThreshold) -> None:
    broken = SECOND.clone()
    broken[3, 1] = torch.nan
    chosen = rule(FIRST, second=broken)
    assert chosen.diagnostics["nonfinite"] == 1
    assert not chosen.valid[3]
    assert chosen.weight[3] == 0
    assert chosen.weight.isfinite().all()


def test_a_second_prediction_of_another_shape_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"second: got torch.float64 of shape \(60, 2\), .* \(60, 3\)"):
        AgreementThreshold()(FIRST, second=SECOND[:, :2])


@pytest.mark.parametrize(
    ("make", "message"),
    [(lambda: AgreementThreshold(5), "threshold: got 5"), (lambda: DMTWeight(-1), "agree: got -1")],
)
def test_wrong_choices_are_named(make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidInputError, match=message):
        make()
