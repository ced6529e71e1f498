"""FCOS: torchvision's anchor-free heads on a feature pyramid."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.fcos import FCOSHead
from torchvision.ops import FeaturePyramidNetwork

from residual_ssl.errors import InvalidInputError
from residual_ssl.models import EncoderDecoder, SmallSegmenter, create_backbone
from residual_ssl.tasks.detection.locations import Locations


class FCOS(EncoderDecoder):
    """Images ``(B, 3, H, W)`` to class logits, boxes and centerness of N places, ``(B, K + 5, N)``.

    Channels: background, which is 0; the K - 1 classes; left, top, right and bottom of a box in pixels; the logit of
    the centerness. FCOS has one logit z for each class, which is on or off by itself. Given that at most one class of a
    place is on, class k is the one with probability ``e^z_k / (1 + Σ e^z)``, and none is with ``1 / (1 + Σ e^z)``:
    the softmax over ``(0, z)``. So these logits are to a selector what those of any classifier are.

    Args:
        num_classes: K, background among them.
        backbone: a timm model with feature maps; None for the encoder of
            :class:`~residual_ssl.models.SmallSegmenter`, of strides 2, 4, 8, 16.
        weights: of a timm backbone, see :func:`~residual_ssl.models.create_backbone`.
        strides: of the levels; those beyond the backbone's are made of the last one.
        channels: of the pyramid and the heads, a multiple of 32.
        convolutions: of each head.
        widths: of the small encoder.
        freeze_batchnorm: as of :class:`~residual_ssl.models.EncoderDecoder`.
        backbone_options: further arguments of ``timm.create_model``.

    Raises:
        InvalidInputError: fewer than two classes, strides that the backbone does not have, other channels.

    Source: FCOS, arXiv 1904.01355; the heads and their start are those of torchvision.

    Example:
        >>> FCOS(num_classes=11, strides=(8, 16), channels=32)(torch.zeros(2, 3, 64, 48)).shape
        torch.Size([2, 16, 60])
    """

    def __init__(
        self,
        num_classes: int,
        backbone: str | None = None,
        weights: str | Path | None = None,
        strides: Sequence[int] = (8, 16, 32, 64, 128),
        channels: int = 256,
        convolutions: int = 4,
        widths: Sequence[int] = (32, 64, 128),
        freeze_batchnorm: bool = False,
        backbone_options: Mapping[str, Any] | None = None,
    ) -> None:
        encoder: Any
        if backbone is None:
            encoder = SmallSegmenter(2, widths).encoder
            reductions, depths = [2 ** (i + 1) for i in range(len(widths) + 1)], [widths[0], *widths]
        else:
            encoder = create_backbone(backbone, weights=weights, options=backbone_options)
            reductions, depths = encoder.feature_info.reduction(), encoder.feature_info.channels()
        used = [reductions.index(stride) for stride in strides if stride in reductions]
        expected = [reductions[i] for i in used] + [reductions[-1] * 2 ** (i + 1) for i in range(len(strides))]
        beyond = len(used) < len(strides) and used[-1:] != [len(reductions) - 1]
        if not used or beyond or list(strides) != expected[: len(strides)]:
            raise InvalidInputError(
                f"strides: got {tuple(strides)}, expected some of {reductions}, doubled beyond them"
            )
        if channels < 32 or channels % 32:
            raise InvalidInputError(f"channels: got {channels}, expected a multiple of 32, in which heads normalise")
        super().__init__(encoder, num_classes, freeze_batchnorm)
        self.small = backbone is None
        self.used = used
        self.locations = Locations(strides)
        self.pyramid = FeaturePyramidNetwork([depths[i] for i in used], channels)
        further = len(strides) - len(used)
        self.further = nn.ModuleList(nn.Conv2d(channels, channels, 3, stride=2, padding=1) for _ in range(further))
        self.head = FCOSHead(channels, 1, num_classes - 1, convolutions)

    def encode(self, x: Tensor) -> list[Tensor]:
        if not self.small:
            features: list[Tensor] = self.encoder(x)
            return [features[i] for i in self.used]
        features = []
        for stage in self.encoder.children():
            x = stage(x)
            features.append(x)
        return [features[i] for i in self.used]

    def decode(self, features: Sequence[Tensor], size: tuple[int, ...]) -> Tensor:
        levels = list(self.pyramid(OrderedDict((str(i), level) for i, level in enumerate(features))).values())
        for convolution in self.further:
            levels.append(convolution(levels[-1].relu()))
        found = self.head(levels)
        logits, sides = found["cls_logits"], found["bbox_regression"]
        centers = self.locations.centers(size, logits.device)
        reach = sides * self.locations.stride_of_each(size, logits.device).unsqueeze(1)
        boxes = torch.cat([centers - reach[..., :2], centers + reach[..., 2:]], -1)
        background = logits.new_zeros(*logits.shape[:2], 1)
        return torch.cat([background, logits, boxes.to(logits.dtype), found["bbox_ctrness"]], -1).transpose(1, 2)
