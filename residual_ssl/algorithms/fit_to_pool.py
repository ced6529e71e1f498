"""Features of the training sets for a selector that must see the pool."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from residual_ssl.errors import ConfigError
from residual_ssl.selection import Selector
from residual_ssl.task import Batch, Task

FEATURES_COME_FROM = "train on those of a frozen network, dataset=frozen_images, or give the task a method features"
# Points taken of a set: more than any selector keeps, and few enough for memory.
_POINTS = 100_000


def fit_to_pool(selector: Selector, task: Task, labelled: Dataset[Batch], unlabelled: Dataset[Batch]) -> None:
    """Give a selector the features of the labelled and the unlabelled samples, an even sample of both.

    Args:
        selector: its ``needs.pool`` is True.
        task: gives features of inputs.
        labelled, unlabelled: training sets, indexed by ``(index, draw)``.

    Raises:
        ConfigError: a task without features.
    """
    features, labels = _points(task, labelled, "target")
    pool, _ = _points(task, unlabelled, None)
    assert labels is not None
    selector.fit_pool(features, labels, pool, task.num_classes, ignore_index=task.ignore_index)


def _points(task: Task, samples: Any, target: str | None) -> tuple[Tensor, Tensor | None]:
    """Features ``(N, D)`` and, where a target is named, labels ``(N,)``."""
    rows, labels = [], []
    step = max(1, len(samples) // _POINTS)
    each = max(1, _POINTS // max(1, len(samples)))
    for index in range(0, len(samples), step):
        batch = samples[index, index]
        features = task.features(batch["input"].unsqueeze(0))
        if features is None:
            raise ConfigError(
                f"algorithm.selector: judges by features of the inputs, and {type(task).__name__} gives none; "
                f"{FEATURES_COME_FROM}"
            )
        points = features[0].flatten(1).T if features.dim() > 2 else features
        # Drawn at random, as a stride would meet the columns of an image.
        drawn = torch.randperm(len(points), generator=torch.Generator().manual_seed(index))[:each]
        rows.append(points[drawn])
        if target is not None:
            labels.append(batch[target].flatten()[drawn])
    return torch.cat(rows), torch.cat(labels) if labels else None
