"""The weak view of an image to classify: resized, shifted, flipped."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from residual_ssl.data import resize_image
from residual_ssl.errors import InvalidInputError


class FlipAndCrop:
    """Resize to a common size; in training, crop at random out of the image with a reflected border, and flip.

    The shorter side becomes ``size``, so that nothing of a square image is lost; of another one, evaluation sees the
    square in the middle.

    Args:
        size: side of the result in pixels.
        padding: width of the border, in [0, size).
        flip: probability of a horizontal flip.
        vertical_flip: probability of a vertical flip, for images without an up and a down.

    ``__call__(image, generator=None) -> image``, :meth:`plain` without randomness: uint8 ``(C, H, W)``, or floating in
    [0, 1], to float32 ``(C, size, size)`` in [0, 1].

    Raises:
        InvalidInputError: a choice outside its range.

    Source: the weak augmentation of FixMatch, arXiv 2001.07685, with a border of ⅛ of the size.

    Example:
        >>> weak = FlipAndCrop(size=8, padding=1)
        >>> weak(torch.zeros(3, 16, 20, dtype=torch.uint8)).shape
        torch.Size([3, 8, 8])
    """

    def __init__(self, size: int, padding: int = 0, flip: float = 0.5, vertical_flip: float = 0.0) -> None:
        if size < 1:
            raise InvalidInputError(f"size: got {size}, expected a side ≥ 1 in pixels")
        if not 0 <= padding < size:
            raise InvalidInputError(f"padding: got {padding}, expected a width in [0, {size})")
        for name, value in (("flip", flip), ("vertical_flip", vertical_flip)):
            if not 0 <= value <= 1:
                raise InvalidInputError(f"{name}: got {value}, expected a probability in [0, 1]")
        self.size = size
        self.padding = padding
        self.flip = flip
        self.vertical_flip = vertical_flip

    def __call__(self, image: Tensor, generator: torch.Generator | None = None) -> Tensor:
        # Always the same number of draws, so that one sample's size does not shift the randomness of the next.
        u_top, u_left, u_flip, u_vertical = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
        pixels = F.pad(self._resized(image), (self.padding,) * 4, mode="reflect")
        top, left = (
            int(u * (side - self.size + 1)) for u, side in zip((u_top, u_left), pixels.shape[1:], strict=True)
        )
        pixels = pixels[:, top : top + self.size, left : left + self.size]
        if u_flip < self.flip:
            pixels = pixels.flip(2)
        if u_vertical < self.vertical_flip:
            pixels = pixels.flip(1)
        return pixels.contiguous()

    def plain(self, image: Tensor) -> Tensor:
        """The image without augmentation, as evaluation sees it."""
        pixels = self._resized(image)
        top, left = ((side - self.size) // 2 for side in pixels.shape[1:])
        return pixels[:, top : top + self.size, left : left + self.size].contiguous()

    def _resized(self, image: Tensor) -> Tensor:
        if image.dim() != 3 or not (image.dtype == torch.uint8 or image.is_floating_point()):
            raise InvalidInputError(
                f"image: got {image.dtype} of shape {tuple(image.shape)}, expected uint8 or floating (C, H, W)"
            )
        factor = self.size / min(image.shape[1:])
        height, width = (max(self.size, round(side * factor)) for side in image.shape[1:])
        pixels = resize_image(image, (height, width))
        return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels.float().clamp(0, 1)

    def __repr__(self) -> str:
        return (
            f"FlipAndCrop(size={self.size}, padding={self.padding}, flip={self.flip}, "
            f"vertical_flip={self.vertical_flip})"
        )
