"""Dice of each volume, beside a metric over all points."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from residual_ssl.tasks.dense import dice


class VolumeDice(Metric):  # type: ignore[misc]
    """A metric over all points, with sums of the Dice of each class over volumes and in how many it is defined."""

    full_state_update = False

    def __init__(self, overall: Any, num_classes: int, ignore_index: int) -> None:
        super().__init__()
        self.overall = overall
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        for name in ("total", "volumes"):
            self.add_state(name, torch.zeros(num_classes, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, target: Tensor) -> None:
        self.overall.update(logits, target)
        classes = self.num_classes
        for predicted, truth in zip(logits.argmax(1), target, strict=True):
            known = truth != self.ignore_index
            pairs = torch.bincount(truth[known] * classes + predicted[known], minlength=classes**2)
            found = dice(pairs.reshape(classes, classes))
            self.total += found.nan_to_num(0)
            self.volumes += ~found.isnan()

    def compute(self) -> tuple[Any, Tensor, Tensor]:
        return self.overall.compute(), self.total.cpu(), self.volumes.cpu()

    def reset(self) -> None:
        super().reset()
        self.overall.reset()
