"""Cross-validation in which unlabelled rows are learned from and never measured on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import BaseCrossValidator, StratifiedKFold
from sklearn.utils.validation import column_or_1d

from residual_ssl.algorithms.estimator.marked_labels import marked_labels, unlabelled_mark
from residual_ssl.errors import InvalidInputError


class LabelledKFold(BaseCrossValidator):  # type: ignore[misc]
    """Stratified folds of the labelled rows; every unlabelled row is in the training part of every fold.

    For ``cross_val_score``, ``GridSearchCV`` and the like with any metric: scikit-learn's own folds give unlabelled
    rows to the metric as rows of a class -1.

    Args:
        n_splits: number of folds, ≥ 2.
        shuffle: whether the labelled rows are shuffled before they are divided.
        random_state: seed of the shuffling, as everywhere in scikit-learn.

    Raises:
        InvalidInputError: (by ``split``) fewer labelled rows than folds, or no ``y``.

    Example:
        >>> folds = LabelledKFold(2)
        >>> for train, test in folds.split(np.zeros((6, 1)), [0, 1, -1, 0, 1, -1]):
        ...     print(train, test)
        [2 3 4 5] [0 1]
        [0 1 2 5] [3 4]
    """

    def __init__(self, n_splits: int = 5, *, shuffle: bool = False, random_state: int | None = None) -> None:
        self.n_splits = n_splits
        self.shuffle = shuffle
        self.random_state = random_state

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """The number of folds."""
        return self.n_splits

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Places of the training and of the test rows of each fold.

        Args:
            X: rows, of which nothing but their number counts.
            y: ``(n,)`` labels, marked as for :class:`SelfTrainingClassifier` where there is none.
            groups: not used.
        """
        if y is None:
            raise InvalidInputError("y: got None, expected labels: folds are made of the labelled rows")
        y = column_or_1d(np.asarray(marked_labels(y)))
        labelled = np.flatnonzero(y != unlabelled_mark(y))
        if len(labelled) < self.n_splits:
            raise InvalidInputError(
                f"y: got {len(labelled)} labelled rows, expected at least {self.n_splits}, the folds"
            )
        folds = StratifiedKFold(self.n_splits, shuffle=self.shuffle, random_state=self.random_state)
        _, classes = np.unique(y[labelled], return_inverse=True)
        for _, test in folds.split(labelled, classes):
            yield np.setdiff1d(np.arange(len(y)), labelled[test]), labelled[test]
