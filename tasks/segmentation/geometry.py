"""The weak view's geometry: resize, crop and flip, for image, mask and valid area alike."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from residual_ssl.data import resize_image, resize_mask
from residual_ssl.errors import InvalidInputError
from residual_ssl.tasks.normalisation import IMAGENET_MEAN


class WeakGeometry:
    """Random resize, crop and horizontal flip.

    The image is resized by one factor for both sides. Where it is then larger than the crop, a window is cut out; where
    it is smaller, it is placed at random within the crop and the rest is padding.

    Args:
        crop: (height, width) of the result, or one number for both.
        scale: range of the factor, drawn uniformly; 0 < smallest ≤ largest.
        flip: probability of a horizontal flip, in [0, 1].
        ignore_index: value of the mask at padding.
        fill: colour of the image at padding, in [0, 1], one value for each channel of the images; the mean of ImageNet
            becomes 0 when normalised.

    ``__call__(image, mask=None, generator=None) -> (image, mask, valid)``

    Args of the call:
        image: ``(C, H, W)``, uint8 or floating in [0, 1]; bilinear, antialiased.
        mask: integer ``(H, W)`` or None; nearest.
        generator: source of randomness; None for torch's global one, which ``DataLoader`` seeds in each worker.

    Returns of the call:
        image float32 ``(C, *crop)`` in [0, 1]; mask ``(*crop)`` of its dtype, or None; valid bool ``(*crop)``, False
        at padding.

    Raises:
        InvalidInputError: a choice outside its range; an image or a mask of another shape or kind.

    Source: the weak augmentation of UniMatch, arXiv 2208.09910.

    Example:
        >>> weak = WeakGeometry(4, scale=(1.0, 1.0), flip=0.0)
        >>> image, mask, valid = weak(torch.full((3, 2, 4), 255, dtype=torch.uint8), torch.ones(2, 4, dtype=torch.long))
        >>> image.shape, valid.sum().item(), mask.unique()
        (torch.Size([3, 4, 4]), 8, tensor([  1, 255]))
    """

    def __init__(
        self,
        crop: int | tuple[int, int],
        scale: tuple[float, float] = (0.5, 2.0),
        flip: float = 0.5,
        *,
        ignore_index: int = 255,
        fill: Sequence[float] = IMAGENET_MEAN,
    ) -> None:
        self.crop = (crop, crop) if isinstance(crop, int) else (crop[0], crop[1])
        self.scale = (float(scale[0]), float(scale[1]))
        self.flip = flip
        self.ignore_index = ignore_index
        self.fill = tuple(fill)
        if min(self.crop) < 1:
            raise InvalidInputError(f"crop: got {crop}, expected (height, width) ≥ 1")
        if not 0 < self.scale[0] <= self.scale[1] < float("inf"):
            raise InvalidInputError(f"scale: got {scale}, expected 0 < smallest ≤ largest, (1, 1) for no resizing")
        if not 0 <= flip <= 1:
            raise InvalidInputError(f"flip: got {flip}, expected a probability in [0, 1]")
        if not self.fill or not all(0 <= value <= 1 for value in self.fill):
            raise InvalidInputError(
                f"fill: got {fill}, expected a number in [0, 1] for each channel; divide 8-bit colours by 255"
            )

    def filled(self, fill: Sequence[float]) -> Self:
        """The same, with another colour at padding."""
        other = copy(self)
        other.fill = tuple(fill)
        return other

    def __call__(
        self, image: Tensor, mask: Tensor | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        self._check(image, mask)
        # Always the same number of draws, so that one sample's size does not shift the randomness of the next.
        u_scale, u_top, u_left, u_flip = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
        factor = self.scale[0] + (self.scale[1] - self.scale[0]) * u_scale
        height, width = (max(1, round(side * factor)) for side in image.shape[1:])
        (rows, above, below), (columns, before, after) = (
            _window(height, self.crop[0], u_top),
            _window(width, self.crop[1], u_left),
        )
        padding = (before, after, above, below)

        pixels = resize_image(image, (height, width))[:, rows, columns]
        pixels = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels.float().clamp(0, 1)
        valid = F.pad(torch.ones(pixels.shape[1:], dtype=torch.bool), padding, value=False)
        pixels = torch.where(valid, F.pad(pixels, padding), torch.tensor(self.fill)[:, None, None])
        if mask is not None:
            mask = F.pad(resize_mask(mask, (height, width))[rows, columns], padding, value=self.ignore_index)
        if u_flip < self.flip:
            pixels, valid = pixels.flip(-1), valid.flip(-1)
            mask = None if mask is None else mask.flip(-1)
        return pixels, mask, valid

    def _check(self, image: Tensor, mask: Tensor | None) -> None:
        if (
            image.dim() != 3
            or image.shape[0] != len(self.fill)
            or not (image.dtype == torch.uint8 or image.is_floating_point())
        ):
            raise InvalidInputError(
                f"image: got {image.dtype} of shape {tuple(image.shape)}, expected uint8 or floating "
                f"({len(self.fill)}, H, W)"
            )
        if mask is not None and (mask.shape != image.shape[1:] or mask.is_floating_point()):
            raise InvalidInputError(
                f"mask: got {mask.dtype} of shape {tuple(mask.shape)}, expected integers of the image's shape "
                f"{tuple(image.shape[1:])}"
            )

    def __repr__(self) -> str:
        return f"WeakGeometry(crop={self.crop}, scale={self.scale}, flip={self.flip}, ignore_index={self.ignore_index})"


def _window(side: int, crop: int, position: float) -> tuple[slice, int, int]:
    """What to keep of a side, and its padding before and after; ``position`` in [0, 1) slides the window."""
    offset = int(position * (abs(side - crop) + 1))
    if side >= crop:
        return slice(offset, offset + crop), 0, 0
    return slice(0, side), offset, crop - side - offset
