"""The estimator takes labels and tables as people of scikit-learn and pandas have them."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.datasets import load_digits, load_iris
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import DataConversionWarning
from sklearn.model_selection import GridSearchCV, cross_val_score

from residual_ssl import ConvexSelector, FixedThreshold, SelfTrainingClassifier
from residual_ssl.errors import InvalidInputError

CODE = np.arange(90) % 2
ROWS = np.random.default_rng(0).normal(size=(90, 2)) + 3 * CODE[:, None]
KNOWN = np.arange(90) < 20
NAMES = np.array(["cat", "dog"])[CODE]
MARKED = np.where(KNOWN, NAMES, "-1")

MARKS: dict[str, tuple[Any, list[Any]]] = {
    "numbers": (np.where(KNOWN, CODE, -1), [0, 1]),
    "texts of numpy": (MARKED, ["cat", "dog"]),
    "texts as objects": (MARKED.astype(object), ["cat", "dog"]),
    "a list of texts": (MARKED.tolist(), ["cat", "dog"]),
    "texts of pandas": (pd.Series(MARKED), ["cat", "dog"]),
    "string dtype with NA": (pd.Series(np.where(KNOWN, NAMES, None), dtype="string"), ["cat", "dog"]),
    "categories": (pd.Series(np.where(KNOWN, NAMES, None), dtype="category"), ["cat", "dog"]),
    "None": (np.where(KNOWN, NAMES, None), ["cat", "dog"]),
    "NaN among numbers": (np.where(KNOWN, CODE, np.nan), [0, 1]),
    "NaN in a series": (pd.Series(np.where(KNOWN, CODE, np.nan)), [0, 1]),
    "NA among whole numbers": (pd.Series(CODE, dtype="Int64").where(pd.Series(KNOWN)), [0, 1]),
    "-1 among objects": (np.where(KNOWN, NAMES.astype(object), -1), ["cat", "dog"]),
}


@pytest.mark.parametrize("kind", MARKS)
def test_every_mark_of_an_unlabelled_row_is_understood(kind: str) -> None:
    y, classes = MARKS[kind]
    model = SelfTrainingClassifier(rounds=1).fit(ROWS, y)
    assert model.classes_.tolist() == classes
    assert (model.weight_[KNOWN] == 1).all()


def test_a_frame_with_categories_reaches_a_classifier_that_reads_them() -> None:
    frame = pd.DataFrame({"colour": pd.Categorical(np.where(CODE, "red", "blue")), "size": ROWS[:, 0]})
    inner = HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=5, min_samples_leaf=2)
    model = SelfTrainingClassifier(inner, rounds=2).fit(frame, np.where(KNOWN, CODE, -1))
    assert model.score(frame, CODE) == 1.0
    assert model.feature_names_in_.tolist() == ["colour", "size"]


def test_unlabelled_rows_count_in_no_score() -> None:
    X, y = load_digits(return_X_y=True)
    X, y = X[:400] / 16, y[:400]
    few = np.where(np.arange(400) % 4 == 0, y, -1)
    model = SelfTrainingClassifier(selector=FixedThreshold(0.8), rounds=1).fit(X, few)
    assert model.score(X, few) == model.score(X[few >= 0], few[few >= 0])
    assert cross_val_score(model, X, few, cv=3).min() > 0.6
    with pytest.raises(InvalidInputError, match="unlabelled rows and no other"):
        model.score(X[:3], [-1, -1, -1])


def test_a_search_varies_an_argument_of_the_selector() -> None:
    y = np.where(KNOWN, CODE, -1)
    search = GridSearchCV(
        SelfTrainingClassifier(selector=FixedThreshold(0.8), rounds=1), {"selector__threshold": [0.6, 0.9]}, cv=2
    ).fit(ROWS, y)
    assert search.best_params_["selector__threshold"] in (0.6, 0.9)
    assert search.best_estimator_.selector.threshold == search.best_params_["selector__threshold"]


def test_a_search_leaves_the_other_arguments_of_the_selector() -> None:
    selector = ConvexSelector(scope="window", window=7)
    model = SelfTrainingClassifier(selector=selector).set_params(selector__alpha=3.0)
    assert (model.selector.alpha, model.selector.window, len(model.selector.past.filled)) == (3.0, 7, 7)


def test_an_argument_that_the_selector_does_not_take_is_named() -> None:
    with pytest.raises(ValueError, match=r"selector__tau: FixedThreshold takes threshold"):
        SelfTrainingClassifier(selector=FixedThreshold(0.8)).set_params(selector__tau=0.3)


def test_weights_of_rows_multiply_those_of_labels_and_pseudo_labels() -> None:
    X, y = load_iris(return_X_y=True)
    few = np.where(np.arange(len(y)) % 10 == 0, y, -1)
    factor = np.linspace(0.5, 1.5, len(y))
    plain = SelfTrainingClassifier(selector=FixedThreshold(0.5), rounds=1).fit(X, few)
    weighted = SelfTrainingClassifier(selector=FixedThreshold(0.5), rounds=1).fit(X, few, sample_weight=factor)
    same = SelfTrainingClassifier(selector=FixedThreshold(0.5), rounds=1).fit(X, few, sample_weight=np.ones(len(y)))
    np.testing.assert_array_equal(same.predict_proba(X), plain.predict_proba(X))
    chosen = weighted.weight_ > 0
    np.testing.assert_allclose(weighted.weight_[chosen], factor[chosen])
    assert not np.allclose(weighted.predict_proba(X), plain.predict_proba(X))
    with pytest.raises(InvalidInputError, match=r"sample_weight: got shape \(3,\) for 150 rows"):
        SelfTrainingClassifier().fit(X, few, sample_weight=[1, 2, 3])


@pytest.mark.parametrize("missing", [np.nan, None, -1])
def test_a_column_of_labels_is_read_as_labels(missing: Any) -> None:
    X, y = load_iris(return_X_y=True)
    column = np.array([[label if index % 10 == 0 else missing] for index, label in enumerate(y)])
    with pytest.warns(DataConversionWarning, match="column-vector"):
        model = SelfTrainingClassifier().fit(X, column)
    few = np.where(np.arange(len(y)) % 10 == 0, y, -1)
    np.testing.assert_array_equal(model.predict(X), SelfTrainingClassifier().fit(X, few).predict(X))


@pytest.mark.parametrize("kind", [sparse.coo_matrix, sparse.csc_array, sparse.dok_matrix])
def test_any_sparse_format_is_fitted_and_scored(kind: Any) -> None:
    X, y = load_iris(return_X_y=True)
    few = np.where(np.arange(len(y)) % 10 == 0, y, -1)
    model = SelfTrainingClassifier().fit(kind(X), few)
    assert model.score(kind(X), few) == SelfTrainingClassifier().fit(X, few).score(X, few)
