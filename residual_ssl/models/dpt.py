"""DPT on a vision transformer such as DINOv2, for crops of any size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from residual_ssl.errors import InvalidInputError
from residual_ssl.models.backbone import create_transformer
from residual_ssl.models.encoder_decoder import FeaturePerturbation
from residual_ssl.models.segmentation_model import SegmentationModel, resize


class DPT(SegmentationModel):
    """Dense prediction transformer: four layers of a vision transformer, reassembled at four scales and fused.

    The decoder is the one of UniMatch V2, without BatchNorm: the patch tokens behind four blocks, normalised by the
    transformer's last LayerNorm and without its class token, become maps at 4, 2, 1 and ½ times the grid of patches,
    and are joined from the coarsest to the finest, which gives logits at 8 times the grid, resampled to the crop.

    The blocks are the last ones of the four quarters of the network (2, 5, 8, 11 of 12, counted from 0), in a network
    of 24 blocks 4, 11, 17, 23. Of an encoder of width w the maps have w/8, w/4, w/2 and w channels and the decoder w/6
    (ViT-S: 64, ViT-B: 128); at width 1024 (ViT-L) they have 256, 512, 1024, 1024 and the decoder 256.

    Images whose sides are no multiples of the patch size are resampled (bilinear) to the nearest multiples, as UniMatch
    V2 does in evaluation. Crops of 518 and 798 are multiples of 14. :meth:`encode` returns the four maps, all of the
    same shape; a perturbation is drawn once for all of them.

    Args:
        num_classes: K ≥ 2.
        backbone: a timm vision transformer: ``"vit_small_patch14_dinov2"``, ``"vit_base_patch14_dinov2"``,
            ``"vit_large_patch14_dinov2"``, …
        weights: None for random ones, ``"dinov2"`` for timm's own, or the path of the backbone's state dict
            (``.safetensors`` or ``.pth``), timm's or that of DINOv2's authors.
        freeze_encoder: train the decoder alone.
        backbone_options: further arguments of ``timm.create_model``.

    Raises:
        InvalidInputError: an unknown backbone, one that is no plain vision transformer or has fewer than four blocks.
        MissingDataError, CheckpointError: weights that are not to be had, or do not fit.

    Source: DPT, arXiv 2103.13413; decoder, layers and widths of UniMatch V2, arXiv 2410.10777.

    Example:
        >>> import torch
        >>> model = DPT(num_classes=21, backbone_options={"depth": 4, "embed_dim": 48, "img_size": 56})
        >>> model(torch.zeros(2, 3, 28, 45)).shape
        torch.Size([2, 21, 28, 45])
    """

    def __init__(
        self,
        num_classes: int,
        backbone: str = "vit_small_patch14_dinov2",
        weights: str | Path | None = None,
        freeze_encoder: bool = False,
        *,
        backbone_options: Mapping[str, Any] | None = None,
    ) -> None:
        encoder = create_transformer(backbone, weights=weights, options=backbone_options)
        super().__init__(encoder, num_classes, freeze_encoder=freeze_encoder)
        depth, width = len(encoder.blocks), encoder.embed_dim
        if depth < 4:
            raise InvalidInputError(f"backbone: {backbone!r} has {depth} blocks, expected at least 4")
        self._blocks = [4, 11, 17, 23] if depth == 24 else [depth * quarter // 4 - 1 for quarter in range(1, 5)]
        self._patch: tuple[int, int] = encoder.patch_embed.patch_size
        large = width == 1024
        channels = (256, 512, 1024, 1024) if large else (width // 8, width // 4, width // 2, width)
        fused = 256 if large else width // 6
        self.reassemble = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width_of_level, 1), scale, nn.Conv2d(width_of_level, fused, 3, padding=1, bias=False)
            )
            for width_of_level, scale in zip(channels, _scales(channels), strict=True)
        )
        self.fuse = nn.ModuleList(_Fusion(fused, with_coarser=level < 3) for level in range(4))
        self.classifier = nn.Sequential(
            nn.Conv2d(fused, fused, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(fused, num_classes, 1)
        )
        self.to(memory_format=torch.channels_last)

    def encode(self, x: Tensor) -> list[Tensor]:
        size = (x.shape[2], x.shape[3])
        fitting = (_nearest_multiple(size[0], self._patch[0]), _nearest_multiple(size[1], self._patch[1]))
        if size != fitting:
            x = resize(x, fitting)
        features: list[Tensor] = self.encoder.forward_intermediates(  # type: ignore[operator]
            x, self._blocks, norm=True, intermediates_only=True
        )
        return features

    def perturb(self, features: Sequence[Tensor], perturbation: FeaturePerturbation) -> list[Tensor]:
        """All four maps, side by side as one, so that whole channels are dropped from all of them alike."""
        beside = rearrange(list(features), "level b c h w -> b c (level h) w")
        return list(rearrange(perturbation(beside), "b c (level h) w -> level b c h w", level=4))

    def decode(self, features: Sequence[Tensor], size: tuple[int, ...]) -> Tensor:
        levels = [reassemble(feature) for reassemble, feature in zip(self.reassemble, features, strict=True)]
        finest = levels[0].shape
        sizes = [(2 * finest[2], 2 * finest[3]), *((level.shape[2], level.shape[3]) for level in levels[:3])]
        fused = None
        for level in (3, 2, 1, 0):
            fused = self.fuse[level](levels[level], fused, sizes[level])
        return resize(self.classifier(fused), size)


def _nearest_multiple(side: int, patch: int) -> int:
    return max(1, (2 * side + patch) // (2 * patch)) * patch


def _scales(channels: Sequence[int]) -> list[nn.Module]:
    """Layers to 4, 2, 1 and ½ times the size."""
    first, second, _, last = channels
    return [
        nn.ConvTranspose2d(first, first, 4, stride=4),
        nn.ConvTranspose2d(second, second, 2, stride=2),
        nn.Identity(),
        nn.Conv2d(last, last, 3, stride=2, padding=1),
    ]


class _Fusion(nn.Module):
    """One level, joined to the coarser ones where there are any, at the size of the next finer one."""

    def __init__(self, channels: int, with_coarser: bool) -> None:
        super().__init__()
        self.adapt = _ResidualUnit(channels) if with_coarser else None
        self.refine = _ResidualUnit(channels)
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, level: Tensor, coarser: Tensor | None, size: tuple[int, ...]) -> Tensor:
        if self.adapt is not None:
            level = coarser + self.adapt(level)
        # A 1×1 convolution and bilinear resampling commute; in this order it has a quarter of the points.
        projected: Tensor = self.project(self.refine(level))
        return resize(projected, size)


class _ResidualUnit(nn.Module):
    """Two 3×3 convolutions, each behind a ReLU, beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(torch.relu(self.first(torch.relu(x))))  # type: ignore[no-any-return]
