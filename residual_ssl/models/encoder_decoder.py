"""The interface of every model: features, logits of features, one forward with a branch of perturbed features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from residual_ssl.errors import InvalidInputError
from residual_ssl.models.frozen_batchnorm import freeze_layers

FeaturePerturbation = Callable[[Tensor], Tensor]


class EncoderDecoder(nn.Module, ABC):
    """A network split into :meth:`encode` and :meth:`decode`, so that algorithms can perturb the features between them.

    The parameters of ``encoder`` are the pretrained ones, all others belong to the head: optimisers give the two groups
    different learning rates. For images there are :class:`SegmentationModel` and :class:`ClassificationModel`.

    Args:
        encoder: what :meth:`encode` runs; becomes the attribute ``encoder``.
        num_classes: K ≥ 2; 1 for the output of a sigmoid, see :func:`~residual_ssl.models.two_class_network`.
        freeze_batchnorm: keep the BatchNorm layers *of the encoder* in eval mode, also under ``.train()``: running
            statistics are used and never move. Their affine parameters still learn. For fine-tuning from statistics
            that batches would not reproduce (weights converted from a network with folded BatchNorm, tiny batches).
        freeze_encoder: the encoder learns nothing and stays in eval mode; all else of the model learns.

    Raises:
        InvalidInputError: fewer classes than one.

    Example, a model of sequences ``(B, 1, T)``, with logits ``(B, 4, T)``:
        >>> import torch
        >>> class Steps(EncoderDecoder):
        ...     def __init__(self):
        ...         super().__init__(torch.nn.Conv1d(1, 8, 3, padding=1), num_classes=4)
        ...         self.head = torch.nn.Conv1d(8, 4, 1)
        ...     def encode(self, x):
        ...         return [self.encoder(x).relu()]
        ...     def decode(self, features, size):
        ...         return self.head(features[0])
        >>> model = Steps()
        >>> model(torch.zeros(5, 1, 30)).shape
        torch.Size([5, 4, 30])
        >>> clean, perturbed = model(torch.zeros(5, 1, 30), torch.nn.Dropout1d(0.5), start=2).split([5, 3])
        >>> clean.shape, perturbed.shape
        (torch.Size([5, 4, 30]), torch.Size([3, 4, 30]))
    """

    encoder: nn.Module

    def __init__(
        self, encoder: nn.Module, num_classes: int, freeze_batchnorm: bool = False, freeze_encoder: bool = False
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise InvalidInputError(
                f"num_classes: got {num_classes}, expected at least 2, as background is a class of its own, or 1 for "
                "the one output of a sigmoid (two_class_network)"
            )
        self.encoder = encoder
        self.num_classes = num_classes
        self.freeze_batchnorm = freeze_batchnorm
        self.freeze_encoder = freeze_encoder
        if freeze_encoder:
            encoder.requires_grad_(False)
        self.train()

    @abstractmethod
    def encode(self, x: Tensor) -> list[Tensor]:
        """Inputs ``(B, …)`` as features ``(B, C_i, …)``, from the lowest level to the highest."""

    @abstractmethod
    def decode(self, features: Sequence[Tensor], size: tuple[int, ...]) -> Tensor:
        """Features as of :meth:`encode` to logits ``(B, K, *S)``; ``size`` is that of the input, ``x.shape[2:]``."""

    def perturb(self, features: Sequence[Tensor], perturbation: FeaturePerturbation) -> list[Tensor]:
        """The features with the lowest and the highest level perturbed; a model may choose other levels."""
        ends = {0, len(features) - 1}
        return [perturbation(feature) if level in ends else feature for level, feature in enumerate(features)]

    def check_input(self, x: Tensor) -> None:
        """Refuse inputs that the model does not take; called by :meth:`forward`. Here nothing is refused."""

    def forward(
        self,
        x: Tensor,
        perturbation: FeaturePerturbation | None = None,
        start: int = 0,
        *,
        perturbed_only: bool = False,
    ) -> Tensor:
        """Logits of the inputs, followed by logits of the same inputs with perturbed features if asked.

        All come from one encoder pass and one decoder pass over the clean and the perturbed features together, as in
        UniMatch: in train mode the decoder's BatchNorm sees both. Everything happens within one ``forward``, so that
        DistributedDataParallel, which counts one backward per forward, may wrap the model.

        Args:
            x: ``(B, …)``.
            perturbation: maps features to others of their shape, not in place, e.g. ``nn.Dropout2d(0.5)``.
            start: index in [0, B) of the first sample whose features are perturbed: a batch is
                ``[labelled, unlabelled]`` and only the second part has the branch. No effect without a perturbation.
            perturbed_only: leave the clean features undecoded. The encoder sees all B samples nevertheless, while the
                decoder's BatchNorm sees the perturbed features alone.

        Returns:
            logits ``(B, K, *S)``; with a perturbation ``(B + (B - start), K, *S)``, the clean ones first; with
            ``perturbed_only`` the last ``B - start`` of these alone.

        Raises:
            InvalidInputError: ``start`` outside [0, B), ``perturbed_only`` without a perturbation; what
                :meth:`check_input` refuses.

        Source: UniMatch, arXiv 2208.09910, §3.2 (feature-level perturbation); UniMatch V2, arXiv 2410.10777, §3.3,
        whose strong views are decoded from perturbed features alone.
        """
        self.check_input(x)
        batch, size = len(x), tuple(x.shape[2:])
        if perturbation is None:
            if perturbed_only:
                raise InvalidInputError(
                    "perturbed_only: got True without a perturbation, expected one, e.g. nn.Dropout2d(0.5); leave "
                    "perturbed_only out for the logits of the features as they are"
                )
            return self.decode(self.encode(x), size)
        if not 0 <= start < batch:
            raise InvalidInputError(
                f"start: got {start}, expected an index in [0, {batch}) for a batch of {batch}; leave out the "
                "perturbation where no sample is to be perturbed"
            )
        features = self.encode(x)
        perturbed = self.perturb([feature[start:] for feature in features], perturbation)
        if perturbed_only:
            return self.decode(perturbed, size)
        return self.decode([torch.cat(pair) for pair in zip(features, perturbed, strict=True)], size)

    def train(self, mode: bool = True) -> Self:
        """Set train or eval mode; what is frozen of the encoder stays in eval mode."""
        super().train(mode)
        if self.freeze_encoder:
            self.encoder.eval()
        elif self.freeze_batchnorm:
            freeze_layers(self.encoder)
        return self
