"""A classifier of vectors: fully connected layers, or none, which is a linear model."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from residual_ssl.errors import InvalidInputError
from residual_ssl.models.classification_model import ClassificationModel


class MLP(ClassificationModel):
    """Layers of ``Linear → BatchNorm → ReLU``, then a linear classifier.

    Args:
        num_features: D, length of the input vectors.
        num_classes: K ≥ 2.
        hidden: widths of the layers, each ≥ 1; empty for a linear model.
        standardise: whether a BatchNorm without parameters comes first: for features that are not standardised, as
            those of a frozen backbone.

    Inputs are ``(B, D)``, or ``(B, 1, D)`` as :class:`~residual_ssl.tasks.features.FeatureTask` shows them.

    Raises:
        InvalidInputError: D or a width below 1, fewer than two classes.

    Example:
        >>> import torch
        >>> model = MLP(num_features=30, num_classes=2, hidden=[16])
        >>> model(torch.zeros(4, 1, 30)).shape, MLP(30, 2, hidden=[]).encode(torch.zeros(4, 30))[0].shape
        (torch.Size([4, 2]), torch.Size([4, 30]))
    """

    def __init__(
        self,
        num_features: int,
        num_classes: int,
        hidden: Sequence[int] = (128, 128),
        *,
        standardise: bool = False,
    ) -> None:
        widths = [num_features, *hidden]
        if min(widths) < 1:
            raise InvalidInputError(
                f"num_features, hidden: got {num_features} and {list(hidden)}, expected numbers ≥ 1"
            )
        first = [nn.BatchNorm1d(num_features, affine=False)] if standardise else []
        layers = [
            layer
            for narrow, wide in zip(widths, hidden, strict=False)
            for layer in (nn.Linear(narrow, wide, bias=False), nn.BatchNorm1d(wide), nn.ReLU(inplace=True))
        ]
        super().__init__(nn.Sequential(*first, *layers), widths[-1], num_classes)

    def encode(self, x: Tensor) -> list[Tensor]:
        return [self.encoder(x.flatten(1))]
