"""A small U-Net for volumes, fast enough to train on a CPU."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from residual_ssl.errors import InvalidInputError
from residual_ssl.models.encoder_decoder import EncoderDecoder


class UNet3d(EncoderDecoder):
    """U-Net of 3×3×3 convolutions with InstanceNorm; logits ``(B, K, D, H, W)`` have the size of the input.

    The first stage works at the size of the input, each further one at half of it; the decoder doubles it stage by
    stage, joining the features of that size. Any D, H and W ≥ 2 will do. 0.35 M parameters at the default widths.

    Args:
        num_classes: K ≥ 2; 1 for the output of a sigmoid.
        widths: channels of each stage, at least two.
        in_channels: C of the volumes.

    Raises:
        InvalidInputError: fewer than two stages, a width < 1; volumes of another shape.

    Source: 3D U-Net, arXiv 1606.06650, with the normalisation of nnU-Net, arXiv 1904.08128.

    Example:
        >>> model = UNet3d(num_classes=4, widths=(4, 8, 16))
        >>> [tuple(feature.shape[1:]) for feature in model.encode(torch.zeros(1, 1, 8, 20, 12))]
        [(4, 8, 20, 12), (8, 4, 10, 6), (16, 2, 5, 3)]
        >>> model(torch.zeros(1, 1, 8, 20, 12)).shape
        torch.Size([1, 4, 8, 20, 12])
    """

    def __init__(self, num_classes: int, widths: Sequence[int] = (16, 32, 64), in_channels: int = 1) -> None:
        if len(widths) < 2 or min(widths) < 1:
            raise InvalidInputError(f"widths: got {tuple(widths)}, expected two or more numbers of channels ≥ 1")
        stages: OrderedDict[str, nn.Module] = OrderedDict()
        for number, (narrow, wide) in enumerate(zip([in_channels, *widths], widths, strict=False)):
            stages[f"stage{number}"] = nn.Sequential(
                _convolution(narrow, wide, 1 if number == 0 else 2), _convolution(wide, wide)
            )
        super().__init__(nn.Sequential(stages), num_classes)
        self.in_channels = in_channels
        self.decoder = nn.ModuleList(
            nn.Sequential(_convolution(high + low, low), _convolution(low, low))
            for low, high in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )
        self.classifier = nn.Conv3d(widths[0], num_classes, 1)

    def check_input(self, x: Tensor) -> None:
        if x.dim() != 5 or x.shape[1] != self.in_channels or not x.is_floating_point() or min(x.shape[2:]) < 2:
            raise InvalidInputError(
                f"x: got {x.dtype} of shape {tuple(x.shape)}, expected floating volumes (B, {self.in_channels}, D, H, "
                "W) with sides ≥ 2"
            )

    def encode(self, x: Tensor) -> list[Tensor]:
        features = []
        for stage in self.encoder.children():
            x = stage(x)
            features.append(x)
        return features

    def decode(self, features: Sequence[Tensor], size: tuple[int, ...]) -> Tensor:
        *skips, x = features
        for skip, fuse in zip(reversed(skips), self.decoder, strict=True):
            larger = F.interpolate(x, skip.shape[2:], mode="trilinear", align_corners=False)
            x = fuse(torch.cat([larger, skip], dim=1))
        logits: Tensor = self.classifier(x)
        return logits


def _convolution(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    # Each channel of each sample by itself, since batches of volumes are small: InstanceNorm by another name.
    return nn.Sequential(
        nn.Conv3d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
        nn.GroupNorm(out_channels, out_channels),
        nn.LeakyReLU(0.01, inplace=True),
    )
