"""Predictions with their truth: what fits, what does not."""

import numpy as np
import pytest
import torch

from residual_ssl.commands.comparison import Predictions
from residual_ssl.commands.comparison.saved import SavedArray
from residual_ssl.errors import InvalidInputError

CPU = torch.device("cpu")


def predictions(logits: np.ndarray, labels: np.ndarray, **others: np.ndarray) -> Predictions:  # type: ignore[type-arg]
    arrays = {name: SavedArray(array, name) for name, array in others.items()}
    return Predictions(SavedArray(logits, "logits"), SavedArray(labels, "labels"), **arrays)


def test_batches_are_the_samples_in_order() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.random((5, 3, 4, 2)), rng.integers(0, 3, (5, 4, 2), dtype=np.uint8)
    valid, second = rng.integers(0, 2, (5, 4, 2), dtype=np.uint8), rng.random((5, 3, 4, 2))
    batches = list(predictions(logits, labels, valid=valid, second=second).batches(2, CPU))
    assert [len(batch.logits) for batch in batches] == [2, 2, 1]
    for column, expected in enumerate((logits, labels, valid.astype(bool), second)):
        joined = torch.cat([batch[column] for batch in batches])  # type: ignore[misc]
        np.testing.assert_array_equal(joined.numpy(), expected)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((5, 3, 4), (5, 5)), r"labels: got shape \(5, 5\), expected \(5, 4\), as logits are \(5, 3, 4\)"),
        (((5, 3, 4), (5, 4), (5, 3, 4)), r"valid: got shape \(5, 3, 4\), expected \(5, 4\)"),
        (((5, 3, 4), (5, 4), None, (5, 2, 4)), r"second: got shape \(5, 2, 4\), expected \(5, 3, 4\)"),
        (((5, 8, 9, 3), (5, 8, 9)), r"logits: got shape \(5, 8, 9, 3\), with the classes in the last dimension"),
        (((5,), (5,)), r"logits: got shape \(5,\), expected \(N, K, \*S\)"),
        (((5, 1, 4), (5, 4)), r"expected \(N, K, \*S\) with K ≥ 2"),
    ],
)
def test_shapes_that_do_not_fit_are_named(shapes: tuple[tuple[int, ...] | None, ...], message: str) -> None:
    names = ("logits", "labels", "valid", "second")
    arrays = {name: np.zeros(shape) for name, shape in zip(names, shapes, strict=False) if shape is not None}
    with pytest.raises(InvalidInputError, match=message):
        predictions(**arrays)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            np.array([0, 1, 2, 3]),
            r"labels: got class id 3 in sample 3, expected ids in \[0, 3\).* or the ignore index 255",
        ),
        (np.array([0, -1, 2, 1]), r"labels: got class id -1 in sample 1"),
        (np.array([0.0, 1.0, 2.0, 1.0]), r"labels: got torch.float64, expected integer class ids"),
    ],
)
def test_labels_that_are_no_classes_are_named(labels: np.ndarray, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(InvalidInputError, match=message):
        list(predictions(np.zeros((4, 3)), labels).batches(2, CPU))


def test_logits_that_are_no_floating_numbers_are_named() -> None:
    with pytest.raises(InvalidInputError, match=r"logits: got torch.int64, expected floating numbers"):
        list(predictions(np.zeros((4, 3), int), np.zeros(4, int)).batches(2, CPU))
