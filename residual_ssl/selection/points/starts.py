"""Values that states by class begin with, as functions of the number of classes."""

from __future__ import annotations

import torch
from torch import Tensor


def uniform(num_classes: int) -> Tensor:
    """1/K for each class: the start of a running distribution."""
    return torch.full((num_classes,), 1 / num_classes)


def one_over_k(num_classes: int) -> Tensor:
    """1/K alone: the confidence of a model that knows nothing."""
    return torch.full((1,), 1 / num_classes)


def no_counts(num_classes: int) -> Tensor:
    """0 for each class, int64: the start of a count."""
    return torch.zeros(num_classes, dtype=torch.int64)
