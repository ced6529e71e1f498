"""Cross-validation measures on labelled rows alone and learns from all others; columns as features; doubtful marks."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score

from residual_ssl import FixedThreshold, LabelledKFold, SelfTrainingClassifier
from residual_ssl.errors import InvalidInputError, ResidualSSLWarning
from residual_ssl.selection import LabelPropagation


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    X, y = load_digits(return_X_y=True)
    X, y = X[:600] / 16, y[:600]
    few = y.copy()
    few[np.random.default_rng(0).permutation(600)[60:]] = -1
    return X, y, few


@pytest.mark.parametrize("mark", [-1, None, float("nan")], ids=str)
def test_folds_divide_the_labelled_rows_and_keep_all_others_for_training(mark: object) -> None:
    y = np.array([0, 1, mark, 0, 1, mark, 0, 1, 1], dtype=object)
    seen = []
    for train, test in LabelledKFold(3).split(y, y):
        assert sorted([*train, *test]) == list(range(9))
        assert {2, 5} <= set(train)
        seen += list(test)
    assert sorted(seen) == [0, 1, 3, 4, 6, 7, 8]


def test_any_metric_is_that_of_labelled_rows(digits: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    X, _, few = digits
    model = SelfTrainingClassifier(selector=FixedThreshold(0.8), rounds=2)
    folds = LabelledKFold(3, shuffle=True, random_state=0)
    scores = [cross_val_score(model, X, few, cv=folds, scoring=metric) for metric in (None, "accuracy")]
    np.testing.assert_allclose(scores[0], scores[1])
    assert scores[1].mean() > 0.6
    search = GridSearchCV(model, {"selector__threshold": [0.5, 0.9]}, cv=folds, scoring="balanced_accuracy")
    assert search.fit(X, few).best_score_ > 0.6


def test_too_few_labels_are_told() -> None:
    with pytest.raises(InvalidInputError, match="y: got 2 labelled rows, expected at least 5, the folds"):
        next(LabelledKFold().split(np.zeros(9), [0, 1, *[-1] * 7]))
    with pytest.raises(InvalidInputError, match="y: got None"):
        next(LabelledKFold().split(np.zeros(9)))


def test_a_selector_may_judge_by_the_columns(digits: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    X, y, few = digits
    alone = LogisticRegression().fit(X[few >= 0], few[few >= 0]).score(X, y)
    model = SelfTrainingClassifier(selector=LabelPropagation(keep=0.9), rounds=1).fit(X, few)
    assert model.score(X, y) > alone + 0.02
    frame = pd.DataFrame({"colour": pd.Categorical(["red", "blue"] * 4), "size": np.arange(8.0)})
    inner = HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=2)
    with pytest.raises(InvalidInputError, match="X: got columns that are no numbers"):
        SelfTrainingClassifier(inner, LabelPropagation()).fit(frame, [0, 1, 0, 1, -1, -1, -1, -1])


@pytest.mark.parametrize("mark", ["nan", "", "None", "<NA>"])
def test_a_text_that_was_a_missing_value_is_doubted(mark: str) -> None:
    X = np.arange(8.0).reshape(8, 1)
    y = np.array(["cat", "dog", "cat", "dog", mark, mark, "-1", "-1"])
    with pytest.warns(ResidualSSLWarning, match=f"y: takes '{mark}' for a class; where it marks unlabelled rows"):
        SelfTrainingClassifier(rounds=1).fit(X, y)
