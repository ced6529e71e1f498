"""The base of segmentation models: images to logits of their size."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.models.encoder_decoder import EncoderDecoder


class SegmentationModel(EncoderDecoder):
    """A segmentation network split into ``encode`` and ``decode``; logits ``(B, K, H, W)`` have the size of the input.

    Arguments, errors and the branch of perturbed features are those of :class:`EncoderDecoder`.

    Attributes:
        in_channels: C of the images.

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
        >>> Linear()(torch.zeros(5, 3, 9, 12)).shape
        torch.Size([5, 4, 9, 12])
    """

    in_channels: int = 3

    def check_input(self, x: Tensor) -> None:
        """Refuse all but floating images ``(B, C, H, W)`` of the network's C, any H and W.

        Raises:
            InvalidInputError: images of another shape or dtype.
        """
        if x.dim() != 4 or x.shape[1] != self.in_channels or not x.is_floating_point():
            raise InvalidInputError(
                f"x: got {x.dtype} of shape {tuple(x.shape)}, expected floating images (B, {self.in_channels}, H, W); "
                "scale and normalise integer images first, and stack single images to a batch"
            )


def resize(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """Bilinear resampling of ``(B, C, h, w)`` to ``(B, C, *size)`` with aligned corners.

    ``align_corners=True`` as in the DeepLab code of UniMatch and its predecessors: a strided 3×3 convolution with
    padding 1 samples its input at 0, 2, 4, …, so that the corner, not the pixel's area, is what input and output share.

    Example:
        >>> import torch
        >>> resize(torch.tensor([[[[0.0, 2.0]]]]), (1, 5)).flatten()
        tensor([0.0000, 0.5000, 1.0000, 1.5000, 2.0000])
    """
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)
