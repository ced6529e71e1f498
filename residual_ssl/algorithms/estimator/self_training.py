"""A selector around any scikit-learn classifier: self-training with weighted pseudo-labels."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.utils import _safe_indexing, get_tags
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    has_fit_parameter,
    validate_data,
)

from residual_ssl.algorithms.estimator.estimator_input import labelled_rows, row_weights, shown_features
from residual_ssl.algorithms.estimator.marked_labels import marked_labels, unlabelled_mark
from residual_ssl.algorithms.estimator.selected_rows import selected_rows
from residual_ssl.errors import InvalidInputError
from residual_ssl.selection import ConvexSelector, Selection, Selector

_INNER = "selector__"


class SelfTrainingClassifier(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):  # type: ignore[misc]
    """Self-training of a scikit-learn classifier with the pseudo-labels that a selector trusts.

    The classifier learns from the labelled rows. Then, in each round, it predicts the unlabelled rows, the selector
    judges all of these predictions as one batch, and a fresh copy learns from the labelled rows (weight 1) and the
    unlabelled ones with their pseudo-labels and the weights of the selector. Unlike in scikit-learn's class of the same
    name every pseudo-label is judged anew in each round: an early mistake can be taken back.

    Args:
        estimator: classifier with ``predict_proba`` whose ``fit`` takes ``sample_weight``; None for
            ``LogisticRegression()``. Scaling and the like go before, where they see the unlabelled rows too:
            ``make_pipeline(StandardScaler(), SelfTrainingClassifier())``.
        selector: any selector that judges by the predictions (see :mod:`residual_ssl.selection`), and by the columns as
            features, as ``LabelPropagation`` does; None for ``ConvexSelector()``, Confidence Separable Learning. A copy
            of it is used. What it says besides labels and weights: soft targets are learned, a row becoming one for
            each class; negative labels are not.
        rounds: number of times that the unlabelled rows are judged, ≥ 1; the steps of a selector with a schedule.

    Attributes:
        estimator_: the fitted classifier of the last round.
        classes_: the K class labels, sorted.
        n_features_in_, feature_names_in_: as everywhere in scikit-learn.
        selector_: the copy of the selector, with the state that it ended in.
        transduction_: ``(n,)`` the given labels, and the pseudo-labels of the last round where their weight is not 0;
            the others stay marked as unlabelled.
        weight_: float64 ``(n,)`` in [0, 1], with which weight; 1 at labelled rows. Times ``sample_weight``.
        coverage_: float64 ``(rounds,)`` in [0, 1], mean weight of the unlabelled rows in each round; empty where none
            were judged.

    ``fit(X, y)`` takes dense or sparse rows ``X (n, D)`` and ``y (n,)`` with -1 at unlabelled rows. Class labels may be
    strings: -1 marks unlabelled rows in an array of objects, and ``"-1"`` (what NumPy makes of it) among strings of any
    kind; so do NaN, None and the missing values of pandas. Frames reach the classifier as they are. ``score`` leaves
    unlabelled rows out, and so do cross-validation and searches, which may name ``selector__threshold``; for other
    metrics, and so that unlabelled rows are learned from in every fold, give them ``cv=LabelledKFold()``.
    With labels of one class the prediction is that class.

    Selectors that trust a share of the predictions however unsure these are, ``ConvexSelector`` among them, can teach a
    classifier that is never sure, such as a strongly regularised one, to predict one class for all rows. Less
    regularisation (a larger ``C``) or ``DistributionAlignment(ConvexSelector())`` helps; a ``FixedThreshold`` then
    selects nothing. ``transduction_`` shows it.

    Raises:
        InvalidInputError: (by ``fit``) an estimator or a selector that cannot be used, no labelled row.

    Warns:
        ResidualSSLWarning: (by ``fit``) no unlabelled row.

    Source: self-training with weighted labels as in CSL, arXiv 2509.16704, §3.3, with refitting in place of steps.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> from sklearn.linear_model import LogisticRegression
        >>> X, y = load_digits(return_X_y=True)
        >>> X, few = X / 16, y.copy()
        >>> few[100:] = -1
        >>> model = SelfTrainingClassifier().fit(X, few)
        >>> labels_only = LogisticRegression().fit(X[:100], y[:100])
        >>> print(f"{labels_only.score(X[100:], y[100:]):.2f} {model.score(X[100:], y[100:]):.2f}")
        0.81 0.89
    """

    def __init__(self, estimator: Any = None, selector: Selector | None = None, rounds: int = 10) -> None:
        self.estimator = estimator
        self.selector = selector
        self.rounds = rounds

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> SelfTrainingClassifier:
        """Learn from labelled and unlabelled rows; see the class.

        Args:
            X: ``(n, D)``.
            y: ``(n,)``.
            sample_weight: ``(n,)``, factor of the weight of each row, labelled or not; None for 1.
        """
        estimator, selector = self._estimator(), self._selector()
        y = marked_labels(y)
        if hasattr(X, "iloc"):  # a frame reaches the classifier as it is, with its names and categories
            X, y = validate_data(self, X, y, skip_check_array=True)
            y = column_or_1d(y)
            check_consistent_length(X, y)
        else:
            X, y = validate_data(self, X, y, accept_sparse="csr", ensure_all_finite=False)
        labelled = labelled_rows(y)
        factor = row_weights(sample_weight, len(y))
        self.classes_, codes = np.unique(y[labelled], return_inverse=True)
        self.transduction_, self.weight_ = y.copy(), labelled.astype(np.float64) * factor
        coverage = []
        if len(self.classes_) == 1:
            from sklearn.dummy import DummyClassifier

            estimator = DummyClassifier()
        self.estimator_ = _fitted(estimator, _safe_indexing(X, labelled), y[labelled], self.weight_[labelled])
        if len(self.classes_) > 1 and not labelled.all():
            known, unknown = _safe_indexing(X, labelled), _safe_indexing(X, ~labelled)
            evidence = shown_features(selector, known, codes, unknown, len(self.classes_))
            for _ in range(self.rounds):
                selector.update_from_labels(self._logits(known), torch.from_numpy(codes))
                with torch.no_grad():
                    selection: Selection = selector(self._logits(unknown), **evidence)
                selected = selected_rows(selection)
                rows = np.concatenate([np.flatnonzero(labelled), np.flatnonzero(~labelled)[selected.row]])
                labels = np.concatenate([y[labelled], self.classes_[selected.label]])
                weight = np.concatenate([self.weight_[labelled], selected.weight * factor[~labelled][selected.row]])
                self.estimator_ = _fitted(estimator, _safe_indexing(X, rows), labels, weight)
                coverage.append(selection.coverage.item())
            self.weight_[~labelled] = selection.weight.double().numpy() * factor[~labelled]
            pseudo = self.classes_[selection.label.numpy()]
            self.transduction_[~labelled] = np.where(self.weight_[~labelled] > 0, pseudo, y[~labelled])
        self.selector_ = selector
        self.coverage_ = np.array(coverage, dtype=np.float64)
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Class labels ``(n,)`` of rows ``X (n, D)``."""
        X = self._rows(X)
        return self.estimator_.predict(X)  # type: ignore[no-any-return]

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Class probabilities ``(n, K)`` of rows ``X (n, D)``, in the order of ``classes_``."""
        X = self._rows(X)
        return self.estimator_.predict_proba(X)  # type: ignore[no-any-return]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        inner_tags = get_tags(self._classifier()).input_tags
        tags.input_tags.sparse, tags.input_tags.allow_nan = inner_tags.sparse, inner_tags.allow_nan
        return tags

    def _classifier(self) -> Any:
        if self.estimator is not None:
            return self.estimator
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression()

    def _estimator(self) -> Any:
        """The classifier to copy, checked."""
        estimator = self._classifier()
        name = type(estimator).__name__
        if not hasattr(estimator, "fit") or not has_fit_parameter(estimator, "sample_weight"):
            raise InvalidInputError(
                f"estimator: got {name}, whose fit takes no sample_weight, expected a classifier that takes it; the "
                "steps of a pipeline go in front: make_pipeline(StandardScaler(), "
                "SelfTrainingClassifier(LogisticRegression()))"
            )
        if not hasattr(estimator, "predict_proba"):
            raise InvalidInputError(
                f"estimator: got {name}, which has no predict_proba, expected a classifier that has it; "
                "CalibratedClassifierCV gives one to any classifier"
            )
        return estimator

    def _selector(self) -> Selector:
        """A copy of the selector, checked and told of the rounds."""
        selector = ConvexSelector() if self.selector is None else self.selector
        if not isinstance(selector, Selector):
            raise InvalidInputError(
                f"selector: got {selector!r}, expected one of residual_ssl.selection, such as FixedThreshold(0.9)"
            )
        if set(selector.needs.evidence) - {"features"}:
            raise InvalidInputError(
                f"selector: got {type(selector).__name__}, which judges by {', '.join(selector.needs.evidence)} too, "
                "expected a selector that judges by the predictions alone; there is one classifier here and no truth"
            )
        if isinstance(self.rounds, bool) or not isinstance(self.rounds, int | np.integer) or self.rounds < 1:
            raise InvalidInputError(f"rounds: got {self.rounds!r}, expected an integer ≥ 1")
        selector = copy.deepcopy(selector).train()
        selector.on_train_start(int(self.rounds))
        return selector

    def _logits(self, X: Any) -> torch.Tensor:
        """Log-probabilities float64 ``(n, K)``, which are logits; a probability of 0 is the least above it."""
        probabilities = np.asarray(self.estimator_.predict_proba(X), dtype=np.float64)
        return torch.from_numpy(probabilities).clamp(min=torch.finfo(torch.float64).tiny).log()

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Mean accuracy on the rows that carry a label; raises InvalidInputError where none does."""
        y = column_or_1d(marked_labels(y))
        X = X.tocsr() if hasattr(X, "tocsr") else X  # other sparse formats have no rows to choose
        known = np.flatnonzero(y != unlabelled_mark(y))
        if not len(known):
            raise InvalidInputError(f"y: got {len(y)} unlabelled rows and no other, expected labels to compare with")
        weight = None if sample_weight is None else np.asarray(sample_weight)[known]
        return float(super().score(_safe_indexing(X, known), y[known], weight))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name; with ``deep`` those of the estimator and of the selector: ``selector__threshold``."""
        params: dict[str, Any] = super().get_params(deep)
        if deep and isinstance(self.selector, Selector):
            params |= {f"selector__{name}": value for name, value in _arguments(self.selector).items()}
        return params

    def set_params(self, **params: Any) -> SelfTrainingClassifier:
        """Set parameters by name; one of the selector makes a new selector, as constructors check their arguments.

        Raises:
            ValueError: a parameter that is not there.
        """
        inner = {
            name.removeprefix("selector__"): params.pop(name) for name in [*params] if name.startswith("selector__")
        }
        super().set_params(**params)
        if inner:
            selector = ConvexSelector() if self.selector is None else self.selector
            known = _arguments(selector)
            if strange := [name for name in inner if name not in known]:
                raise ValueError(
                    f"selector__{strange[0]}: {type(selector).__name__} takes {', '.join(known) or 'none'}"
                )
            self.selector = type(selector)(**{**known, **inner})
        return self

    def _rows(self, X: Any) -> Any:
        check_is_fitted(self)
        if hasattr(X, "iloc"):
            return validate_data(self, X, skip_check_array=True, reset=False)
        return validate_data(self, X, accept_sparse="csr", ensure_all_finite=False, reset=False)


def _fitted(estimator: Any, X: Any, y: NDArray[Any], weight: NDArray[np.float64]) -> Any:
    return clone(estimator).fit(X, y, sample_weight=weight)


def _arguments(selector: Selector) -> dict[str, Any]:
    """The constructor's arguments of a selector that it keeps under their names."""
    names = inspect.signature(type(selector)).parameters
    return {name: getattr(selector, name) for name in names if hasattr(selector, name)}
