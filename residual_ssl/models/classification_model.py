"""The base of classifiers: one vector of features for each sample, and a linear layer."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from residual_ssl.models.encoder_decoder import EncoderDecoder


class ClassificationModel(EncoderDecoder):
    """A classifier whose ``encode`` gives one vector for each sample, and whose ``decode`` is the linear ``head``.

    Args:
        encoder: what ``encode`` runs; becomes the attribute ``encoder``.
        feature_dim: D, length of the vectors.
        num_classes: K ≥ 2.
        freeze_batchnorm, freeze_encoder: see :class:`EncoderDecoder`, as for the branch of perturbed features.

    Raises:
        InvalidInputError: fewer than two classes.

    Example:
        >>> import torch
        >>> class Flat(ClassificationModel):
        ...     def __init__(self):
        ...         super().__init__(torch.nn.Linear(12, 8), feature_dim=8, num_classes=4)
        ...     def encode(self, x):
        ...         return [self.encoder(x.flatten(1)).relu()]
        >>> Flat()(torch.zeros(5, 3, 2, 2)).shape
        torch.Size([5, 4])
    """

    def __init__(
        self,
        encoder: nn.Module,
        feature_dim: int,
        num_classes: int,
        freeze_batchnorm: bool = False,
        freeze_encoder: bool = False,
    ) -> None:
        super().__init__(encoder, num_classes, freeze_batchnorm, freeze_encoder)
        self.feature_dim = feature_dim
        self.head = nn.Linear(feature_dim, num_classes)

    def decode(self, features: Sequence[Tensor], size: tuple[int, ...] = ()) -> Tensor:
        """The vectors ``[(B, D)]`` of ``encode`` to logits ``(B, K)``."""
        logits: Tensor = self.head(features[-1])
        return logits
