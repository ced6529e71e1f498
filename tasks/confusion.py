"""The confusion matrix that every metric of classes comes from."""

from __future__ import annotations

from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix


class Confusion(MulticlassConfusionMatrix):  # type: ignore[misc]
    """Confusion matrix over the points of a data set; update with logits ``(B, K, *S)`` and targets ``(B, *S)``.

    Args:
        num_classes: K.
        ignore_index: target id of points that are not counted.

    ``compute`` gives counts ``(K, K)``, rows truth, columns prediction.
    """

    def update(self, logits: Tensor, target: Tensor) -> None:
        super().update(logits.argmax(dim=1), target)
