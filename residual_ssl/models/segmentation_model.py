"""The interface of every segmentation model: encoder, decoder and one forward with a branch of perturbed features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from residual_ssl.errors import InvalidInputError
from residual_ssl.models.frozen_batchnorm import freeze_layers

FeaturePerturbation = Callable[[Tensor], Tensor]


class SegmentationModel(nn.Module, ABC):
    """A segmentation network split into :meth:`encode` and :meth:`decode`; logits have the size of the input.

    The parameters of ``encoder`` are the pretrained ones, all others belong to the head: optimisers give the two groups
    different learning rates.

    Args:
        encoder: what :meth:`encode` runs; becomes the attribute ``encoder``.
        num_classes: K ≥ 2.
        freeze_batchnorm: keep the BatchNorm layers *of the encoder* in eval mode, also under ``.train()``: running
            statistics are used and never move. Their affine parameters still learn. For fine-tuning from statistics
            that batches would not reproduce (weights converted from a network with folded BatchNorm, tiny batches).

    Raises:
        InvalidInputError: fewer than two classes.

    Example:
        >>> import torch
        >>> class Linear(SegmentationModel):
        ...     def __init__(self):
        ...         super().__init__(torch.nn.Conv2d(3, 8, 3, stride=2, padding=1), num_classes=4)
        ...         self.head = torch.nn.Conv2d(8, 4, 1)
        ...     def encode(self, x):
        ...         return [self.encoder(x)]
        ...     def decode(self, features, size):
        ...         return resize(self.head(features[0]), size)
        >>> model = Linear()
        >>> model(torch.zeros(5, 3, 9, 12)).shape
        torch.Size([5, 4, 9, 12])
        >>> logits, perturbed = model(torch.zeros(5, 3, 9, 12), torch.nn.Dropout2d(0.5), perturb_from=2)
        >>> logits.shape, perturbed.shape
        (torch.Size([5, 4, 9, 12]), torch.Size([3, 4, 9, 12]))
    """

    encoder: nn.Module

    def __init__(self, encoder: nn.Module, num_classes: int, freeze_batchnorm: bool = False) -> None:
        super().__init__()
        if num_classes < 2:
            raise InvalidInputError(
                f"num_classes: got {num_classes}, expected at least 2; background is a class of its own"
            )
        self.encoder = encoder
        self.num_classes = num_classes
        self.freeze_batchnorm = freeze_batchnorm
        self.train()

    @abstractmethod
    def encode(self, x: Tensor) -> list[Tensor]:
        """Images ``(B, 3, H, W)`` as feature maps ``(B, C_i, H_i, W_i)``, from the lowest level to the highest."""

    @abstractmethod
    def decode(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Feature maps as of :meth:`encode` to logits ``(B, K, *size)``."""

    def perturb(self, features: Sequence[Tensor], perturbation: FeaturePerturbation) -> list[Tensor]:
        """The features with the lowest and the highest level perturbed; a model may choose other levels."""
        ends = {0, len(features) - 1}
        return [perturbation(feature) if level in ends else feature for level, feature in enumerate(features)]

    def forward(
        self,
        x: Tensor,
        feature_perturbation: FeaturePerturbation | None = None,
        perturb_from: int = 0,
        *,
        perturbed_only: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Logits of images and, if asked, logits of the same images with perturbed features, or these alone.

        Both come from one encoder pass and one decoder pass over the clean and the perturbed features together, as in
        UniMatch: in train mode the decoder's BatchNorm sees both. Everything happens within one ``forward``, so that
        DistributedDataParallel, which counts one backward per forward, may wrap the model.

        Args:
            x: images, floating ``(B, 3, H, W)``, any H and W.
            feature_perturbation: maps a feature map to one of the same shape, not in place, e.g. ``nn.Dropout2d(0.5)``.
            perturb_from: index in [0, B) of the first item whose features are perturbed: a batch is
                ``[labelled, unlabelled]`` and only the second part has the branch. No effect without a perturbation.
            perturbed_only: leave the clean features undecoded. The encoder sees all B images nevertheless, while the
                decoder's BatchNorm sees the perturbed features alone.

        Returns:
            logits ``(B, K, H, W)``; with a perturbation the pair of them and of ``(B - perturb_from, K, H, W)``, with
            ``perturbed_only`` the second of the pair.

        Raises:
            InvalidInputError: images of another shape or dtype, ``perturb_from`` outside [0, B), ``perturbed_only``
                without a perturbation.

        Source: UniMatch, arXiv 2208.09910, §3.2 (feature-level perturbation); UniMatch V2, arXiv 2410.10777, §3.3,
        whose strong views are decoded from perturbed features alone.
        """
        if x.dim() != 4 or x.shape[1] != 3 or not x.is_floating_point():
            raise InvalidInputError(
                f"x: got {x.dtype} of shape {tuple(x.shape)}, expected floating images (B, 3, H, W); scale and "
                "normalise integer images first, and stack single images to a batch"
            )
        size = (x.shape[2], x.shape[3])
        if feature_perturbation is None:
            if perturbed_only:
                raise InvalidInputError(
                    "perturbed_only: got True without feature_perturbation, expected one, e.g. nn.Dropout2d(0.5); "
                    "leave perturbed_only out for the logits of the features as they are"
                )
            return self.decode(self.encode(x), size)
        batch = x.shape[0]
        if not 0 <= perturb_from < batch:
            raise InvalidInputError(
                f"perturb_from: got {perturb_from}, expected an index in [0, {batch}) for a batch of {batch}; leave "
                "out feature_perturbation where no item is to be perturbed"
            )
        features = self.encode(x)
        perturbed = self.perturb([feature[perturb_from:] for feature in features], feature_perturbation)
        if perturbed_only:
            return self.decode(perturbed, size)
        together = [torch.cat(pair) for pair in zip(features, perturbed, strict=True)]
        logits = self.decode(together, size)
        return logits[:batch], logits[batch:]

    def train(self, mode: bool = True) -> Self:
        """Set train or eval mode; with ``freeze_batchnorm`` the encoder's BatchNorm layers stay in eval mode."""
        super().train(mode)
        if self.freeze_batchnorm:
            freeze_layers(self.encoder)
        return self


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resampling of ``(B, C, h, w)`` to ``(B, C, *size)`` with aligned corners.

    ``align_corners=True`` as in the DeepLab code of UniMatch and its predecessors: a strided 3×3 convolution with
    padding 1 samples its input at 0, 2, 4, …, so that the corner, not the pixel's area, is what input and output share.

    Example:
        >>> import torch
        >>> resize(torch.tensor([[[[0.0, 2.0]]]]), (1, 5)).flatten()
        tensor([0.0000, 0.5000, 1.0000, 1.5000, 2.0000])
    """
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)
