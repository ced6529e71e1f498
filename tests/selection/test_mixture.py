"""ConsistentTeacherThreshold against scikit-learn's mixture, fitted from the same start."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.mixture import GaussianMixture

from residual_ssl.errors import InvalidInputError
from residual_ssl.selection import ConsistentTeacherThreshold
from residual_ssl.testing import SelectorContract, random_logits


class TestPerClass(SelectorContract):
    per_sample = False

    def make(self) -> ConsistentTeacherThreshold:
        return ConsistentTeacherThreshold(iterations=3)


class TestBySample(SelectorContract):
    def make(self) -> ConsistentTeacherThreshold:
        return ConsistentTeacherThreshold(per_class=False, scope="sample", iterations=2)


class TestOfAWindow(SelectorContract):
    per_sample = False

    def make(self) -> ConsistentTeacherThreshold:
        return ConsistentTeacherThreshold(scope="window", window=300, iterations=2)


def threshold_by_sklearn(scores: NDArray[np.float64], iterations: int) -> float:
    """The released policy "high": the likeliest score among those of the upper component."""
    column = scores[:, None]
    mixture = GaussianMixture(
        2,
        means_init=[[scores.min()], [scores.max()]],
        weights_init=[0.5, 0.5],
        precisions_init=[[[1 / (scores.var() + 1e-6)]]] * 2,
        reg_covar=1e-6,
        tol=0,
        max_iter=iterations,
    ).fit(column)
    density = np.where(mixture.predict(column) == 1, mixture.score_samples(column), -np.inf)
    return float(scores[density.argmax()])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("per_class", [False, True])
def test_trust_begins_at_the_mode_of_the_upper_gaussian(per_class: bool) -> None:
    logits = random_logits((4, 3, 60), seed=4)
    chosen = ConsistentTeacherThreshold(per_class, iterations=15)(logits)
    confidence, label = (x.flatten().numpy() for x in logits.softmax(1).max(1))
    for k in range(3):
        members = label == k
        threshold = threshold_by_sklearn(confidence[members] if per_class else confidence, 15)
        assert chosen.trusted.flatten().numpy()[members].tolist() == (confidence[members] >= threshold).tolist()
    assert 0.1 < chosen.coverage < 0.9


def test_by_sample_each_is_fitted_by_itself() -> None:
    logits = random_logits((3, 4, 50), seed=2)
    whole = ConsistentTeacherThreshold(scope="sample")(logits).trusted
    assert torch.equal(
        whole, torch.cat([ConsistentTeacherThreshold()(sample.unsqueeze(0)).trusted for sample in logits])
    )


def test_points_too_few_to_fit_take_the_fallback() -> None:
    logits = torch.tensor([[1.0, 0.0], [0.1, 0.0], [4.0, 0.0]])
    assert ConsistentTeacherThreshold(fallback=0.6)(logits).weight.tolist() == [1, 0, 1]


def test_a_window_outlasts_a_batch() -> None:
    rule = ConsistentTeacherThreshold(per_class=False, scope="window", window=400)
    for seed in range(4):
        rule(random_logits((100, 3), torch.float32, seed=seed))
    together = torch.cat([random_logits((100, 3), torch.float32, seed=seed) for seed in range(4)])
    expected = ConsistentTeacherThreshold(per_class=False)(together).trusted
    rule.eval()
    torch.testing.assert_close(rule(together).trusted, expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scope": "image"}, "scope: got 'image'"),
        ({"iterations": 0}, "iterations: got 0"),
        ({"fallback": 2}, "fallback"),
    ],
)
def test_wrong_choices_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        ConsistentTeacherThreshold(**options)
