"""A segmentation head: a few convolutions on feature maps that are given, as those of a frozen network."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from residual_ssl.errors import InvalidInputError
from residual_ssl.models.encoder_decoder import EncoderDecoder


class ConvolutionalHead(EncoderDecoder):
    """Feature maps ``(B, D, h, w)`` to logits ``(B, K, h, w)``: a 1×1 and a 3×3 convolution and a classifier.

    The maps are standardised first, by a BatchNorm without parameters; branches of
    perturbed features perturb what it gives.

    Args:
        num_features: D.
        num_classes: K ≥ 2.
        hidden: channels of the convolutions, ≥ 1.

    Raises:
        InvalidInputError: D or ``hidden`` below 1, fewer than two classes.

    Example:
        >>> import torch
        >>> ConvolutionalHead(num_features=6, num_classes=3, hidden=8)(torch.zeros(2, 6, 4, 5)).shape
        torch.Size([2, 3, 4, 5])
    """

    def __init__(self, num_features: int, num_classes: int, hidden: int = 128) -> None:
        if min(num_features, hidden) < 1:
            raise InvalidInputError(f"num_features, hidden: got {num_features} and {hidden}, expected numbers ≥ 1")
        super().__init__(nn.BatchNorm2d(num_features, affine=False), num_classes)
        self.head = nn.Sequential(
            *_convolution(num_features, hidden, 1),
            *_convolution(hidden, hidden, 3),
            nn.Conv2d(hidden, num_classes, 1),
        )

    def encode(self, x: Tensor) -> list[Tensor]:
        return [self.encoder(x)]

    def decode(self, features: Sequence[Tensor], size: tuple[int, ...]) -> Tensor:
        return self.head(features[0])  # type: ignore[no-any-return]


def _convolution(channels: int, out: int, kernel: int) -> list[nn.Module]:
    convolution = nn.Conv2d(channels, out, kernel, padding=kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
