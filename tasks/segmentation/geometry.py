"""The weak view's geometry: resize, crop and flip, for image, mask and valid area alike."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from residual_ssl.data import resize_image, resize_mask
from residual_ssl.errors import InvalidInputError
from residual_ssl.tasks.normalisation import IMAGENET_MEAN


class Placement(NamedTuple):
    """How an image lies in a crop.

    Attributes:
        size: (height, width) of the image.
        resized: (height, width) to which it was resized.
        window: rows and columns that are kept of that.
        padding: columns before and after, rows above and below it.
        flipped: whether the crop is then mirrored from left to right.
    """

    size: tuple[int, int]
    resized: tuple[int, int]
    window: tuple[slice, slice]
    padding: tuple[int, int, int, int]
    flipped: bool

    def laid(self, pixels: Tensor, fill: float) -> Tensor:
        """What was cut out of the resized image, ``(…, h, w)``, in the crop."""
        pixels = F.pad(pixels, self.padding, value=fill)
        return pixels.flip(-1) if self.flipped else pixels

    def mask(self, mask: Tensor, fill: int) -> Tensor:
        """Ids ``(H, W)`` of the image in the crop, ``fill`` at padding."""
        return self.laid(resize_mask(mask, self.resized)[self.window], fill)

    def points(self, points: Tensor) -> Tensor:
        """Positions ``(…, 2)``, x and y in pixels of the image from its upper left corner, in pixels of the crop.

        They may lie outside. A box is moved by its corners, of which a flip changes left and right.
        """
        (rows, columns), (before, after, above, _) = self.window, self.padding
        scale = points.new_tensor([self.resized[1] / self.size[1], self.resized[0] / self.size[0]])
        moved = points * scale + points.new_tensor([before - columns.start, above - rows.start])
        if self.flipped:
            width = columns.stop - columns.start + before + after
            moved = moved * moved.new_tensor([-1, 1]) + moved.new_tensor([width, 0])
        return moved


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
        image: ``(C, H, W)``, uint8 or floating in [0, 1], or several images on each other, ``(nC, H, W)``, which move
            alike; bilinear, antialiased.
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
        pixels, valid, placement = self.placed(image, generator)
        return pixels, None if mask is None else placement.mask(mask, self.ignore_index), valid

    def placed(self, image: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor, Placement]:
        """The image and where it is valid, as of the call, and how it was placed, to place more that belongs to it."""
        # Always the same number of draws, so that one sample's size does not shift the randomness of the next.
        u_scale, u_top, u_left, u_flip = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
        factor = self.scale[0] + (self.scale[1] - self.scale[0]) * u_scale
        height, width = (max(1, round(side * factor)) for side in image.shape[1:])
        (rows, above, below), (columns, before, after) = (
            _window(height, self.crop[0], u_top),
            _window(width, self.crop[1], u_left),
        )
        placement = Placement(
            (image.shape[1], image.shape[2]),
            (height, width),
            (rows, columns),
            (before, after, above, below),
            u_flip < self.flip,
        )
        pixels = resize_image(image, (height, width))[:, rows, columns]
        pixels = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels.float().clamp(0, 1)
        valid = placement.laid(torch.ones(pixels.shape[1:], dtype=torch.bool), False)
        fill = torch.tensor(self.fill).repeat(len(pixels) // len(self.fill))[:, None, None]
        return torch.where(valid, placement.laid(pixels, 0.0), fill), valid, placement

    def _check(self, image: Tensor, mask: Tensor | None) -> None:
        if (
            image.dim() != 3
            or not image.shape[0]
            or image.shape[0] % len(self.fill)
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
