"""The interface of every classifier: pooled features, their classifier, one forward with perturbed features."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from residual_ssl.errors import InvalidInputError
from residual_ssl.models.segmentation_model import FeaturePerturbation


class ClassificationModel(nn.Module, ABC):
    """A classifier split into :meth:`encode`, one vector of features for each sample, and :meth:`classify`.

    The parameters of ``encoder`` are the pretrained ones, all others belong to the head: optimisers give the two groups
    different learning rates.

    Args:
        encoder: what :meth:`encode` runs; becomes the attribute ``encoder``.
        feature_dim: D, length of the vectors of :meth:`encode`.
        num_classes: K ≥ 2.

    Attributes ``encoder``, ``feature_dim``, ``num_classes`` hold these, ``head`` the linear layer of :meth:`classify`.

    Raises:
        InvalidInputError: fewer than two classes.

    Example:
        >>> import torch
        >>> class Flat(ClassificationModel):
        ...     def __init__(self):
        ...         super().__init__(torch.nn.Linear(12, 8), feature_dim=8, num_classes=4)
        ...     def encode(self, x):
        ...         return self.encoder(x.flatten(1)).relu()
        >>> model = Flat()
        >>> model(torch.zeros(5, 3, 2, 2)).shape
        torch.Size([5, 4])
        >>> logits, perturbed = model(torch.zeros(5, 3, 2, 2), torch.nn.Dropout(0.5), start=2)
        >>> logits.shape, perturbed.shape
        (torch.Size([5, 4]), torch.Size([3, 4]))
    """

    encoder: nn.Module

    def __init__(self, encoder: nn.Module, feature_dim: int, num_classes: int) -> None:
        super().__init__()
        if num_classes < 2:
            raise InvalidInputError(f"num_classes: got {num_classes}, expected at least 2")
        self.encoder = encoder
        self.feature_dim = feature_dim
        self.num_classes = num_classes
        self.head = nn.Linear(feature_dim, num_classes)

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """Inputs ``(B, …)`` as features ``(B, D)``."""

    def classify(self, features: Tensor) -> Tensor:
        """Features ``(B, D)`` to logits ``(B, K)``."""
        logits: Tensor = self.head(features)
        return logits

    def forward(
        self,
        x: Tensor,
        perturbation: FeaturePerturbation | None = None,
        start: int = 0,
        *,
        perturbed_only: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Logits and, if asked, logits of the same samples with perturbed features, or these alone.

        Both come from one pass of the encoder. Everything happens within one ``forward``, so that
        DistributedDataParallel, which counts one backward per forward, may wrap the model.

        Args:
            x: inputs ``(B, …)``.
            perturbation: maps features ``(N, D)`` to the same shape, not in place, e.g. ``nn.Dropout(0.5)``.
            start: index in [0, B) of the first sample whose features are perturbed. No effect without a perturbation.
            perturbed_only: leave out the logits of the features as they are.

        Returns:
            logits ``(B, K)``; with a perturbation the pair of them and of ``(B - start, K)``, with ``perturbed_only``
            the second of the pair.

        Raises:
            InvalidInputError: ``start`` outside [0, B), ``perturbed_only`` without a perturbation.

        Source: UniMatch, arXiv 2208.09910, §3.2; UniMatch V2, arXiv 2410.10777, §3.3, for classification as well.
        """
        if perturbation is None:
            if perturbed_only:
                raise InvalidInputError(
                    "perturbed_only: got True without a perturbation, expected one, e.g. nn.Dropout(0.5); leave "
                    "perturbed_only out for the logits of the features as they are"
                )
            return self.classify(self.encode(x))
        batch = x.shape[0]
        if not 0 <= start < batch:
            raise InvalidInputError(
                f"start: got {start}, expected an index in [0, {batch}) for a batch of {batch}; leave out the "
                "perturbation where no sample is to be perturbed"
            )
        features = self.encode(x)
        perturbed = perturbation(features[start:])
        if perturbed_only:
            return self.classify(perturbed)
        logits = self.classify(torch.cat([features, perturbed]))
        return logits[:batch], logits[batch:]
