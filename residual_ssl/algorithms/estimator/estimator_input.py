"""What the estimator is given, checked: labels, weights of rows, columns as features."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets

from residual_ssl.algorithms.estimator.marked_labels import unlabelled_mark
from residual_ssl.errors import InvalidInputError, ResidualSSLWarning
from residual_ssl.selection import Selector

# Texts that NumPy makes of missing values.
_MARKS = ("", "nan", "none", "<na>", "nat")


def labelled_rows(y: NDArray[Any]) -> NDArray[np.bool_]:
    """Which rows carry a label, bool ``(n,)``; at least one of them, of classes."""
    labelled: NDArray[np.bool_] = y != unlabelled_mark(y)
    if not labelled.any():
        raise InvalidInputError(f"y: got {len(y)} unlabelled rows (-1) and no other, expected at least one label")
    check_classification_targets(y[labelled])
    if marks := [str(label) for label in np.unique(y[labelled]) if str(label).strip().lower() in _MARKS]:
        warnings.warn(
            ResidualSSLWarning(
                f"y: takes {', '.join(map(repr, marks))} for a class; where it marks unlabelled rows, write -1, None "
                "or NaN in an array of objects"
            ),
            stacklevel=3,
        )
    if labelled.all():
        warnings.warn(
            ResidualSSLWarning(
                f"y: got {len(y)} labelled rows and no unlabelled one, so that it learns from the labels alone; "
                "mark unlabelled rows by -1"
            ),
            stacklevel=3,
        )
    return labelled


def shown_features(
    selector: Selector, known: Any, codes: NDArray[np.int64], unknown: Any, num_classes: int
) -> dict[str, torch.Tensor]:
    """What a selector judges by beside predictions: the columns of unlabelled rows, where it asks for features."""
    if "features" not in selector.needs.evidence:
        return {}
    of_known, of_unknown = _numbers(known), _numbers(unknown)
    selector.fit_pool(of_known, torch.from_numpy(codes), of_unknown, num_classes, ignore_index=-1)
    return {"features": of_unknown}


def _numbers(X: Any) -> torch.Tensor:
    dense = X.toarray() if hasattr(X, "toarray") else X
    try:
        return torch.from_numpy(np.array(dense, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"X: got columns that are no numbers ({error}), expected numbers, which the selector takes as features"
        ) from error


def row_weights(sample_weight: Any, rows: int) -> NDArray[np.float64]:
    """Factors of the weights of all rows, ``(n,)``."""
    if sample_weight is None:
        return np.ones(rows)
    found = np.asarray(sample_weight, dtype=np.float64)
    if found.shape != (rows,) or not np.isfinite(found).all() or (found < 0).any():
        raise InvalidInputError(
            f"sample_weight: got shape {found.shape} for {rows} rows, expected a finite number ≥ 0 for each row"
        )
    return found
