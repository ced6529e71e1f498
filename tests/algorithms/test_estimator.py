"""SelfTrainingClassifier: scikit-learn's own checks, and self-training as its docstring defines it."""

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.datasets import load_iris, make_blobs
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Perceptron
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from residual_ssl import ConvexSelector, FixedThreshold, SelfTrainingClassifier
from residual_ssl.algorithms.estimator.selected_rows import selected_rows
from residual_ssl.errors import InvalidInputError, ResidualSSLWarning
from residual_ssl.selection import (
    FlexMatchThreshold,
    OracleSelector,
    SharpenedThreshold,
    selector_classes,
)

Array = NDArray[Any]


def expected_failures(estimator: SelfTrainingClassifier) -> dict[str, str]:
    """A forest draws rows with replacement: for itself, too, weights are not the same as repetitions."""
    if estimator.estimator is None:
        return {}
    kinds = ("dense", "sparse")
    return {f"check_sample_weight_equivalence_on_{kind}_data": "random forests draw rows" for kind in kinds}


@parametrize_with_checks(
    [
        SelfTrainingClassifier(),
        SelfTrainingClassifier(RandomForestClassifier(n_estimators=5, random_state=0), FixedThreshold(0.9), rounds=2),
    ],
    expected_failed_checks=expected_failures,
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_passes_the_checks_of_scikit_learn(estimator: SelfTrainingClassifier, check: Any) -> None:
    check(estimator)


@pytest.fixture
def flowers() -> tuple[Array, Array, Array]:
    """Rows, true labels, and labels of which one in ten is left."""
    X, y = load_iris(return_X_y=True)
    return X, y, np.where(np.arange(len(y)) % 10 == 0, y, -1)


def test_a_round_fits_on_labels_and_on_pseudo_labels_with_the_weights_of_the_rule(
    flowers: tuple[Array, Array, Array],
) -> None:
    X, _, few = flowers
    model = SelfTrainingClassifier(LogisticRegression(), ConvexSelector(), rounds=2).fit(X, few)

    labelled = few != -1
    expected = LogisticRegression().fit(X[labelled], few[labelled])
    for _ in range(2):
        probabilities = expected.predict_proba(X[~labelled])
        weight = ConvexSelector()(torch.from_numpy(np.log(probabilities))).weight.numpy()
        everything = np.vstack([X[labelled], X[~labelled]])
        labels = np.concatenate([few[labelled], probabilities.argmax(1)])
        weights = np.concatenate([np.ones(labelled.sum()), weight])
        expected = LogisticRegression().fit(everything, labels, sample_weight=weights)
    np.testing.assert_allclose(model.predict_proba(X), expected.predict_proba(X), atol=1e-3)
    np.testing.assert_allclose(model.weight_[~labelled], weight)
    assert (model.weight_[labelled] == 1).all()
    assert 0 < weight.min() < 0.99 < weight.max() == 1, "the rule weighs, so that the test sees the weights"
    assert model.coverage_[-1] == pytest.approx(weight.mean())


def test_rows_that_the_rule_gives_no_weight_stay_unlabelled(flowers: tuple[Array, Array, Array]) -> None:
    X, _, few = flowers
    model = SelfTrainingClassifier(selector=FixedThreshold(0.9), rounds=1).fit(X, few)
    first = LogisticRegression().fit(X[few != -1], few[few != -1])
    sure = first.predict_proba(X).max(1) >= 0.9
    expected = np.where(few != -1, few, np.where(sure, first.predict(X), -1))
    np.testing.assert_array_equal(model.transduction_, expected)
    assert (expected == -1).any()
    assert (expected[few == -1] != -1).any()


def test_unlabelled_rows_help_where_the_classes_are_clusters() -> None:
    X, y = make_blobs(300, centers=[[-2.5, 0], [2.5, 0]], random_state=0)
    shown = [np.flatnonzero(y == k)[0] for k in (0, 1)]
    X[shown] = [[-2, -2], [2, 2]]  # the labels alone suggest a slanted boundary
    few = np.full_like(y, -1)
    few[shown] = y[shown]
    base = LogisticRegression().fit(X[shown], y[shown]).score(X, y)
    assert SelfTrainingClassifier().fit(X, few).score(X, y) > base + 0.02


def test_a_soft_target_becomes_a_row_for_each_class() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.1, 0.0]])
    selection = SharpenedThreshold(threshold=0.5, temperature=0.4)(logits)
    rows = selected_rows(selection)
    assert selection.target is not None
    np.testing.assert_array_equal(rows.row, [0, 0, 0])
    np.testing.assert_array_equal(rows.label, [0, 1, 2])
    np.testing.assert_allclose(rows.weight, selection.target[0].numpy())
    student = torch.tensor([0.3, -0.2, 0.9]).log_softmax(0)
    loss = -(torch.from_numpy(rows.weight) * student[torch.from_numpy(rows.label)]).sum()
    torch.testing.assert_close(loss, -(selection.target[0] * student).sum(), check_dtype=False)


JUDGE_BY_PREDICTIONS = [
    name
    for name, rule in selector_classes().items()
    if not rule.evidence
    and name not in ("DistributionAlignment", "PooledPropagation", "ReliableRegions")
    and not hasattr(rule, "fit")
]


@pytest.mark.parametrize("name", JUDGE_BY_PREDICTIONS)
def test_every_rule_that_judges_by_predictions_alone_can_be_used(
    name: str, flowers: tuple[Array, Array, Array]
) -> None:
    X, y, few = flowers
    model = SelfTrainingClassifier(GaussianNB(), selector_classes()[name](), rounds=3).fit(X, few)
    assert model.score(X, y) > 0.85
    assert ((model.weight_ >= 0) & (model.weight_ <= 1)).all()
    assert model.coverage_.shape == (3,)


def test_a_rule_with_memory_starts_afresh_in_every_fit(flowers: tuple[Array, Array, Array]) -> None:
    X, _, few = flowers
    rule = FlexMatchThreshold(0.9)
    before = {name: value.clone() for name, value in rule.state_dict().items()}
    model = SelfTrainingClassifier(GaussianNB(), rule, rounds=3).fit(X, few)
    first = model.weight_
    assert any(not torch.equal(value, before[name]) for name, value in model.selector_.state_dict().items())
    assert all(torch.equal(value, before[name]) for name, value in rule.state_dict().items())
    np.testing.assert_array_equal(model.fit(X, few).weight_, first)


class ToldSelector(FixedThreshold):
    """Remembers what it was told."""

    def on_train_start(self, total_steps: int) -> None:
        self.steps, self.told = total_steps, []

    def update_from_labels(self, logits: torch.Tensor, target: torch.Tensor, ignore_index: int = 255) -> None:
        self.told.append((logits, target))


def test_a_rule_is_told_of_the_rounds_and_of_the_labelled_predictions(flowers: tuple[Array, Array, Array]) -> None:
    X, _, few = flowers
    names = np.array(["setosa", "versicolor", "virginica"], dtype=object)
    y = np.where(few == -1, -1, names[few])
    model = SelfTrainingClassifier(selector=ToldSelector(0.9), rounds=2).fit(X, y)
    told = model.selector_.told
    assert (model.selector_.steps, len(told)) == (2, 2)
    np.testing.assert_array_equal(told[0][1].numpy(), few[few != -1])
    first = LogisticRegression().fit(X[few != -1], few[few != -1])
    np.testing.assert_allclose(told[0][0].exp().numpy(), first.predict_proba(X[few != -1]), atol=1e-6)


@pytest.mark.parametrize("mark", [-1, "-1"], ids=["objects", "strings"])
def test_class_labels_may_be_strings(mark: object, flowers: tuple[Array, Array, Array]) -> None:
    X, _, few = flowers
    names = np.array(["setosa", "versicolor", "virginica"], dtype=object)
    y = np.array([mark if label == -1 else names[label] for label in few], dtype=object if mark == -1 else str)
    model = SelfTrainingClassifier(rounds=3).fit(X, y)
    numbers = SelfTrainingClassifier(rounds=3).fit(X, few)
    assert list(model.classes_) == sorted(names)
    np.testing.assert_array_equal(model.predict(X), names[numbers.predict(X)])


def test_a_probability_of_zero_is_no_infinity(flowers: tuple[Array, Array, Array]) -> None:
    X, _, few = flowers
    tree = DecisionTreeClassifier(random_state=0)  # predicts 0 and 1
    model = SelfTrainingClassifier(tree, rounds=2).fit(X, few)
    assert (model.weight_ == 1).all()


def test_sparse_rows_give_what_dense_ones_do() -> None:
    texts = ["red apple", "green apple", "apple pie", "fast car", "red car", "car wheel", "green pie", "fast wheel"]
    X = TfidfVectorizer().fit_transform(texts)
    y = np.array([0, -1, -1, 1, -1, -1, -1, -1])
    assert scipy.sparse.issparse(X)
    sparse = SelfTrainingClassifier(rounds=4).fit(X, y)
    dense = SelfTrainingClassifier(rounds=4).fit(X.toarray(), y)
    np.testing.assert_allclose(sparse.predict_proba(X), dense.predict_proba(X.toarray()), atol=1e-4)
    np.testing.assert_array_equal(sparse.predict(X)[[0, 1, 2, 3, 5, 6, 7]], [0, 0, 0, 1, 1, 0, 1])


def test_labels_of_one_class_make_a_constant() -> None:
    X = np.random.default_rng(0).normal(size=(6, 2))
    model = SelfTrainingClassifier().fit(X, ["yes", "yes", "-1", "-1", "-1", "-1"])
    assert set(model.predict(X)) == {"yes"}
    np.testing.assert_array_equal(model.predict_proba(X), np.ones((6, 1)))
    assert model.coverage_.shape == (0,)


def test_without_unlabelled_rows_it_is_the_classifier_itself_and_says_so(flowers: tuple[Array, Array, Array]) -> None:
    X, y, _ = flowers
    with pytest.warns(ResidualSSLWarning, match="no unlabelled"):
        model = SelfTrainingClassifier(GaussianNB()).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X), GaussianNB().fit(X, y).predict_proba(X))


def test_stands_in_a_pipeline_and_in_a_search_over_rules(flowers: tuple[Array, Array, Array]) -> None:
    X, y, few = flowers
    scaled = StandardScaler().fit_transform(X)
    pipeline = make_pipeline(StandardScaler(), SelfTrainingClassifier()).fit(X, few)
    np.testing.assert_array_equal(pipeline.predict(X), SelfTrainingClassifier().fit(scaled, few).predict(scaled))
    rules = {"selector": [FixedThreshold(0.8), ConvexSelector()], "estimator__C": [0.1, 10.0]}
    search = GridSearchCV(SelfTrainingClassifier(LogisticRegression(), rounds=1), rules, cv=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResidualSSLWarning)
        search.fit(scaled, y)
    assert search.best_params_["estimator__C"] == 10.0
    copied = clone(SelfTrainingClassifier(selector=FixedThreshold(0.8)))
    assert copied.selector.threshold == 0.8


@pytest.mark.parametrize(
    ("arguments", "labels", "message"),
    [
        ({"estimator": KNeighborsClassifier()}, None, r"^estimator: got KNeighborsClassifier, .* sample_weight"),
        ({"estimator": make_pipeline(StandardScaler(), LogisticRegression())}, None, r"^estimator: got Pipeline"),
        ({"estimator": Perceptron()}, None, r"^estimator: got Perceptron, which has no predict_proba"),
        ({"selector": OracleSelector()}, None, r"^selector: got OracleSelector, which judges by truth"),
        ({"selector": 0.95}, None, r"^selector: got 0.95, expected one of"),
        ({"rounds": 0}, None, r"^rounds: got 0"),
        ({}, np.full(150, -1), r"^y: got 150 unlabelled rows"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(
    arguments: dict[str, Any], labels: Array | None, message: str, flowers: tuple[Array, Array, Array]
) -> None:
    X, _, few = flowers
    with pytest.raises(InvalidInputError, match=message):
        SelfTrainingClassifier(**arguments).fit(X, few if labels is None else labels)
