"""Labels of scikit-learn and pandas in which some rows carry none, with one mark for these."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import DataConversionWarning


def marked_labels(y: Any) -> Any:
    """Labels in which -1, or ``"-1"`` among texts, marks the rows that carry none, however they were marked.

    Args:
        y: array, list, series of pandas, or one column ``(n, 1)``; missing are None, NaN, ``pandas.NA``, missing
            categories, ``"-1"``, -1.

    Returns:
        ``y`` itself where nothing has to be translated, else a NumPy array of numbers or texts.

    Example:
        >>> marked_labels(["cat", None, "-1"]).tolist(), marked_labels([1.0, float("nan")]).tolist()
        (['cat', '-1', '-1'], [1, -1])
    """
    if getattr(y, "ndim", 1) == 2 and y.shape[1] == 1:  # a column, as frames and files give it
        message = "A column-vector y was passed when a 1d array was expected; it is read as one"
        warnings.warn(DataConversionWarning(message), stacklevel=3)
        y = y.iloc[:, 0] if hasattr(y, "iloc") else np.asarray(y)[:, 0]
    if getattr(y, "ndim", 1) != 1:
        return y
    kind = getattr(getattr(y, "dtype", None), "kind", "O")
    native = isinstance(y, np.ndarray) and kind in "biuUS"
    if native or (kind == "f" and not np.isnan(np.asarray(y, dtype=np.float64)).any()):
        return y
    try:
        values = list(y)
    except TypeError:
        return y
    missing = [_is_missing(value) for value in values]
    texts = any(isinstance(value, str) for value, lacks in zip(values, missing, strict=True) if not lacks)
    if texts:
        if not any(missing) and not any(isinstance(value, str) and value == "-1" for value in values):
            return y
        return np.array(["-1" if lacks else str(value) for value, lacks in zip(values, missing, strict=True)])
    if not any(missing):
        return y
    found = np.array([-1 if lacks else value for value, lacks in zip(values, missing, strict=True)])
    whole = found.dtype.kind == "f" and bool((found == np.round(found)).all())
    return found.astype(np.int64) if whole else found


def _is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


def unlabelled_mark(y: NDArray[Any]) -> Any:
    """What marks an unlabelled row in an array of this kind."""
    return "-1" if y.dtype.kind in "US" else -1
