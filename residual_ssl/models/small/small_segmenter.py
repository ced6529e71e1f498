"""A small residual encoder–decoder for images of about 64×64, fast enough to train on a CPU."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from residual_ssl.errors import InvalidInputError
from residual_ssl.models.segmentation_model import SegmentationModel, resize

# On one thread oneDNN (of torch 2.15) corrupts memory in the backward pass of narrower convolutions in that format.
_CHANNELS_LAST = 8


class SmallSegmenter(SegmentationModel):
    """Residual encoder–decoder with skip connections; 0.91 M parameters at the default widths.

    A stem of stride 2 is followed by one stage per width, each halving the size; the decoder doubles it stage by stage,
    joining the features of that size. :meth:`encode` returns the stem's features and those of every stage, at strides
    2, 4, 8, 16 by default; the stem's and the last stage's are perturbed. The weights of 8 and more channels lie
    in memory channels last, which convolutions prefer.

    Args:
        num_classes: K ≥ 2.
        widths: channels of each stage, at least one; the stem has those of the first.
        blocks: residual blocks per stage, ≥ 1.
        freeze_batchnorm: keep the encoder's BatchNorm in eval mode, see :class:`SegmentationModel`.
        in_channels: C of the images.

    Raises:
        InvalidInputError: no stage, a width or a number of blocks < 1.

    Example:
        >>> import torch
        >>> model = SmallSegmenter(num_classes=11)
        >>> [tuple(feature.shape[1:]) for feature in model.encode(torch.zeros(1, 3, 64, 64))]
        [(32, 32, 32), (32, 16, 16), (64, 8, 8), (128, 4, 4)]
        >>> model(torch.zeros(1, 3, 64, 64)).shape
        torch.Size([1, 11, 64, 64])
    """

    def __init__(
        self,
        num_classes: int,
        widths: Sequence[int] = (32, 64, 128),
        blocks: int = 2,
        freeze_batchnorm: bool = False,
        in_channels: int = 3,
    ) -> None:
        if not widths or min(widths) < 1:
            raise InvalidInputError(f"widths: got {tuple(widths)}, expected one or more numbers of channels ≥ 1")
        if blocks < 1:
            raise InvalidInputError(f"blocks: got {blocks}, expected at least 1")
        levels = [widths[0], *widths]
        encoder = nn.Sequential(OrderedDict(stem=_convolution(in_channels, levels[0], stride=2)))
        for stage, (narrow, wide) in enumerate(zip(levels, widths, strict=False), start=1):
            steps = [_ResidualBlock(narrow, wide, stride=2)]
            steps += [_ResidualBlock(wide, wide) for _ in range(blocks - 1)]
            encoder.add_module(f"stage{stage}", nn.Sequential(*steps))
        super().__init__(encoder, num_classes, freeze_batchnorm)
        self.in_channels = in_channels
        self.decoder = nn.ModuleList(
            nn.Sequential(_convolution(high + low, low), _convolution(low, low))
            for low, high in zip(levels[-2::-1], levels[:0:-1], strict=True)
        )
        self.classifier = nn.Conv2d(levels[0], num_classes, 1)
        if min(levels) >= _CHANNELS_LAST:
            self.to(memory_format=torch.channels_last)

    def encode(self, x: Tensor) -> list[Tensor]:
        features = []
        for stage in self.encoder.children():
            x = stage(x)
            features.append(x)
        return features

    def decode(self, features: Sequence[Tensor], size: tuple[int, ...]) -> Tensor:
        *skips, x = features
        for skip, fuse in zip(reversed(skips), self.decoder, strict=True):
            x = fuse(torch.cat([resize(x, (skip.shape[2], skip.shape[3])), skip], dim=1))
        return resize(self.classifier(x), size)


class _ResidualBlock(nn.Module):
    """Two 3×3 convolutions beside the identity, or beside a 1×1 convolution where width or size change."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.first = _convolution(in_channels, out_channels, stride)
        self.second = nn.Sequential(
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False), nn.BatchNorm2d(out_channels)
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.second(self.first(x)) + self.shortcut(x))


def _convolution(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )
