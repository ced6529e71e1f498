"""DeepLabV3+ on a timm backbone, for crops of any size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from einops import reduce
from torch import Tensor, nn

from residual_ssl.errors import InvalidInputError
from residual_ssl.models.backbone import create_backbone
from residual_ssl.models.segmentation_model import SegmentationModel, resize

_RATES = {8: (12, 24, 36), 16: (6, 12, 18)}
_LOW_STRIDE = 4
_LOW_CHANNELS = 48


class DeepLabV3Plus(SegmentationModel):
    """DeepLabV3+: atrous spatial pyramid pooling on the last features, refined by features of stride 4.

    The decoder is the one of UniMatch: ASPP with rates 6/12/18 at output stride 16 and 12/24/36 at stride 8, low-level
    features reduced to 48 channels, two 3×3 convolutions, bilinear resampling with ``align_corners=True``. Results at
    different output strides are not comparable. :meth:`encode` returns ``[low, high]``, and both are perturbed.

    Args:
        num_classes: K ≥ 2.
        backbone: a convolutional timm model: ``"resnet50"``, ``"resnet101"``, ``"xception65"``, ``"mobilenetv2_100"``,
            …; with a deep stem ``"resnet101c"`` (32, 32, 64 channels) or ``"resnet101s"`` (64, 64, 128: the ResNet of
            UniMatch).
        output_stride: 8 or 16, input size over the size of the ASPP's input.
        weights: None for random ones, ``"imagenet"`` for timm's own, or the path of the backbone's state dict
            (``.safetensors`` or ``.pth``), with or without its classifier.
        freeze_batchnorm: keep the encoder's BatchNorm in eval mode, see :class:`SegmentationModel`.
        freeze_encoder: train the decoder alone.
        decoder_channels: width of ASPP and fusion; None for an eighth of the backbone's last width, at least 128: 256
            for ResNet-50, -101 and Xception-65, 128 for ResNet-18 and MobileNetV2.
        backbone_options: further arguments of ``timm.create_model``.

    In train mode a batch needs two images per process: the pooling branch normalises one value per image and channel.

    Raises:
        InvalidInputError: an unknown backbone, one without features of stride 4, another output stride, a width < 1;
            ``forward`` in train mode with a single image.
        MissingDataError, CheckpointError: weights that are not to be had, or do not fit.

    Source: DeepLabV3+, arXiv 1802.02611; decoder of UniMatch, arXiv 2208.09910.

    Example:
        >>> import torch
        >>> model = DeepLabV3Plus(num_classes=21, backbone="resnet18")
        >>> model(torch.zeros(2, 3, 33, 48)).shape
        torch.Size([2, 21, 33, 48])
    """

    def __init__(
        self,
        num_classes: int,
        backbone: str = "resnet50",
        output_stride: int = 16,
        weights: str | Path | None = None,
        freeze_batchnorm: bool = False,
        freeze_encoder: bool = False,
        *,
        decoder_channels: int | None = None,
        backbone_options: Mapping[str, Any] | None = None,
    ) -> None:
        if output_stride not in _RATES:
            raise InvalidInputError(f"output_stride: got {output_stride}, expected 8 or 16")
        if decoder_channels is not None and decoder_channels < 1:
            raise InvalidInputError(f"decoder_channels: got {decoder_channels}, expected at least 1, or None")
        encoder = create_backbone(backbone, output_stride=output_stride, weights=weights, options=backbone_options)
        super().__init__(encoder, num_classes, freeze_batchnorm, freeze_encoder)
        info: Any = encoder.feature_info
        channels, strides = info.channels(), info.reduction()
        if _LOW_STRIDE not in strides or strides[-1] != output_stride:
            raise InvalidInputError(
                f"backbone: {backbone!r} has features of strides {strides}, expected one of stride 4 and the last of "
                f"stride {output_stride}, as resnet50 or mobilenetv2_100 have"
            )
        self._low_level: int = strides.index(_LOW_STRIDE)
        width = max(128, channels[-1] // 8) if decoder_channels is None else decoder_channels
        self.aspp = _AtrousPyramid(channels[-1], width, _RATES[output_stride])
        self.reduce = _convolution(channels[self._low_level], _LOW_CHANNELS, 1)
        self.fuse = nn.Sequential(_convolution(width + _LOW_CHANNELS, width, 3), _convolution(width, width, 3))
        self.classifier = nn.Conv2d(width, num_classes, 1)
        self.to(memory_format=torch.channels_last)  # which convolutions prefer, on CPUs and GPUs alike

    def encode(self, x: Tensor) -> list[Tensor]:
        features = self.encoder(x)
        return [features[self._low_level], features[-1]]

    def decode(self, features: Sequence[Tensor], size: tuple[int, ...]) -> Tensor:
        low, high = features
        context = resize(self.aspp(high), (low.shape[2], low.shape[3]))
        return resize(self.classifier(self.fuse(torch.cat([self.reduce(low), context], dim=1))), size)


class _AtrousPyramid(nn.Module):
    """Parallel convolutions at several rates and the image's mean, projected to one map of the input's size."""

    def __init__(self, in_channels: int, out_channels: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList([_convolution(in_channels, out_channels, 1)])
        self.branches.extend(_convolution(in_channels, out_channels, 3, dilation=rate) for rate in rates)
        self.pool = _convolution(in_channels, out_channels, 1)
        self.project = _convolution((len(rates) + 2) * out_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        norm = self.pool[1]
        # SyncBatchNorm, no subclass of BatchNorm2d, also counts the images of the other processes.
        if x.shape[0] == 1 and norm.training and isinstance(norm, nn.BatchNorm2d):
            raise InvalidInputError(
                "x: got a batch of 1 in train mode, expected at least 2 images per process, as BatchNorm of the image "
                "pooling branch normalises over the batch; enlarge the batch, drop the last one (drop_last=True) or "
                "call .eval()"
            )
        image = self.pool(reduce(x, "b c h w -> b c 1 1", "mean")).expand(-1, -1, x.shape[2], x.shape[3])
        return self.project(torch.cat([*(branch(x) for branch in self.branches), image], dim=1))  # type: ignore[no-any-return]


def _convolution(in_channels: int, out_channels: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, padding=padding, dilation=dilation, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )
