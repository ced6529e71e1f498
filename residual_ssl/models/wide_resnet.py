"""Wide ResNets of semi-supervised classification: WRN-28-2, WRN-28-8, and WRN-37-2 for larger images."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from einops import reduce
from torch import Tensor, nn

from residual_ssl.errors import InvalidInputError
from residual_ssl.models.classification_model import ClassificationModel

_SLOPE = 0.1


class WideResNet(ClassificationModel):
    """Pre-activation residual network: stages of blocks of two 3×3 convolutions, each stage wider than the one before.

    As FixMatch and its successors have it: leaky ReLU of slope 0.1, convolutions with bias, BatchNorm with ε = 0.001
    whose running statistics move by 0.001 a step. The features are averaged over the image.

    Args:
        num_classes: K ≥ 2.
        depth: 6·blocks + 4, of three stages; a further stage adds to it without being counted.
        width: factor of the channels 16, 32, 64 (and 128) of the stages.
        stages: 3, or 4 for images of about 96 pixels: WRN-37-2 is ``depth=28, width=2, stages=4, first_stride=2``.
        first_stride: stride of the first stage; that of the others is 2.
        in_channels: C of the images.

    Raises:
        InvalidInputError: another depth, width or number of stages.

    Source: Wide residual networks, arXiv 1605.07146; the variants are those of FixMatch, arXiv 2001.07685, and USB,
    arXiv 2208.07204.

    Example:
        >>> import torch
        >>> model = WideResNet(num_classes=10, depth=10, width=1)
        >>> model.encode(torch.zeros(2, 3, 32, 32))[0].shape, model(torch.zeros(2, 3, 32, 32)).shape
        (torch.Size([2, 64]), torch.Size([2, 10]))
    """

    def __init__(
        self,
        num_classes: int,
        depth: int = 28,
        width: int = 2,
        stages: int = 3,
        first_stride: int = 1,
        in_channels: int = 3,
    ) -> None:
        if depth < 10 or (depth - 4) % 6:
            raise InvalidInputError(f"depth: got {depth}, expected 6·blocks + 4: 10, 16, 22, 28, …")
        if width < 1 or stages not in (3, 4) or first_stride not in (1, 2):
            raise InvalidInputError(
                f"width, stages, first_stride: got {width}, {stages} and {first_stride}, expected ≥ 1, 3 or 4, 1 or 2"
            )
        widths = [16 * width * 2**stage for stage in range(stages)]
        layers: OrderedDict[str, nn.Module] = OrderedDict(stem=nn.Conv2d(in_channels, 16, 3, padding=1))
        for number, (narrow, wide) in enumerate(zip([16, *widths], widths, strict=False)):
            layers[f"stage{number + 1}"] = _stage(narrow, wide, (depth - 4) // 6, first_stride if number == 0 else 2)
        layers["norm"] = _activated(widths[-1])
        super().__init__(nn.Sequential(layers), widths[-1], num_classes)
        self._initialise()

    def encode(self, x: Tensor) -> list[Tensor]:
        return [reduce(self.encoder(x), "b d h w -> b d", "mean")]

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="leaky_relu")
            elif isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight)
                nn.init.zeros_(module.bias)


class _Block(nn.Module):
    """Two convolutions, each after normalisation and activation, beside the identity.

    Where width or size change, the activated input goes through a 1×1 convolution; otherwise it is left as it came.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.first = _activated(in_channels)
        self.second = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1),
            _activated(out_channels),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
        )
        self.shortcut: nn.Module | None = None
        if in_channels != out_channels or stride != 1:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        active = self.first(x)
        beside: Tensor = x if self.shortcut is None else self.shortcut(active)
        return beside + self.second(active)  # type: ignore[no-any-return]


def _stage(in_channels: int, out_channels: int, blocks: int, stride: int) -> nn.Sequential:
    widths: Sequence[int] = [in_channels, *[out_channels] * (blocks - 1)]
    return nn.Sequential(*(_Block(width, out_channels, stride if i == 0 else 1) for i, width in enumerate(widths)))


def _activated(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(channels, eps=1e-3, momentum=1e-3), nn.LeakyReLU(_SLOPE, inplace=True))
