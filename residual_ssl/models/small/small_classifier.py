"""A small convolutional classifier for images of 8 to 32 pixels, fast enough to train on a CPU."""

from __future__ import annotations

from collections.abc import Sequence

from einops import reduce
from torch import Tensor, nn

from residual_ssl.errors import InvalidInputError
from residual_ssl.models.classification_model import ClassificationModel


class SmallClassifier(ClassificationModel):
    """Stages of two 3×3 convolutions, each but the first at half the size of the one before, averaged over the image.

    0.07 M parameters at the default widths.

    Args:
        num_classes: K ≥ 2.
        widths: channels of each stage, at least one; the last is the number of features D.
        in_channels: C of the images.

    Raises:
        InvalidInputError: no stage, or a width < 1.

    Example:
        >>> import torch
        >>> model = SmallClassifier(num_classes=10)
        >>> model.encode(torch.zeros(2, 3, 8, 8))[0].shape, model(torch.zeros(2, 3, 8, 8)).shape
        (torch.Size([2, 64]), torch.Size([2, 10]))
    """

    def __init__(self, num_classes: int, widths: Sequence[int] = (32, 64), in_channels: int = 3) -> None:
        if not widths or min(widths) < 1:
            raise InvalidInputError(f"widths: got {tuple(widths)}, expected one or more numbers of channels ≥ 1")
        stages = []
        for number, (narrow, wide) in enumerate(zip([in_channels, *widths], widths, strict=False)):
            stages += [_convolution(narrow, wide, stride=1 if number == 0 else 2), _convolution(wide, wide)]
        super().__init__(nn.Sequential(*stages), widths[-1], num_classes)

    def encode(self, x: Tensor) -> list[Tensor]:
        return [reduce(self.encoder(x), "b d h w -> b d", "mean")]


def _convolution(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )
