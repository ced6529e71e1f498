"""Accuracy, error and recall of a classifier, all from a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def classification_metrics(confusion: Tensor, class_names: Sequence[str]) -> dict[str, float]:
    """Metrics in per cent.

    Args:
        confusion: ``(K, K)`` counts, rows truth, columns prediction.
        class_names: K names.

    Returns:
        ``accuracy``; ``error``, its complement; ``balanced_accuracy``, the mean of ``recall/NAME`` over the classes
        that occur, to which those that do not occur add nothing.

    Example:
        >>> import torch
        >>> classification_metrics(torch.tensor([[8, 0], [1, 1]]), ["cat", "dog"])
        {'accuracy': 90.0, 'error': 10.0, 'balanced_accuracy': 75.0, 'recall/cat': 100.0, 'recall/dog': 50.0}
    """
    counts = confusion.double()
    recall = 100 * counts.diagonal() / counts.sum(1)
    seen = ~recall.isnan()
    accuracy = (100 * counts.diagonal().sum() / counts.sum()).item()
    metrics = {"accuracy": accuracy, "error": 100 - accuracy, "balanced_accuracy": recall[seen].mean().item()}
    by_class = zip(class_names, recall.tolist(), seen.tolist(), strict=True)
    return metrics | {f"recall/{name}": value for name, value, occurs in by_class if occurs}
