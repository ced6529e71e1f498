"""Normalisation of images, with the statistics copied to a device once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from residual_ssl.errors import InvalidInputError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Normalisation:
    """Images ``(…, C, H, W)`` less a mean, by a deviation; and back.

    Args:
        mean, std: of each channel, in [0, 1] and > 0.

    Raises:
        InvalidInputError: unequal numbers of channels, a deviation that is not positive.

    Example:
        >>> normal = Normalisation([0.5], [0.25])
        >>> normal(torch.ones(1, 1, 1)).item(), normal.undone(torch.tensor([[[2.0]]])).item()
        (2.0, 1.0)
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        if len(mean) != len(std) or not all(value > 0 for value in std):
            raise InvalidInputError(
                f"mean, std: got {tuple(mean)} and {tuple(std)}, expected one of each for every channel, std > 0"
            )
        self.mean = tuple(mean)
        self.std = tuple(std)
        self._moved: dict[tuple[torch.device, torch.dtype], tuple[Tensor, Tensor]] = {}

    def __call__(self, images: Tensor) -> Tensor:
        mean, std = self._statistics(images)
        return (images - mean) / std

    def undone(self, images: Tensor) -> Tensor:
        """Normalised images in [0, 1] again."""
        mean, std = self._statistics(images)
        return (images * std + mean).clamp(0, 1)

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """``(C, 1, 1)`` each, copied to a device once: a copy per view would wait for it each time."""
        key = (like.device, like.dtype)
        if key not in self._moved:
            mean, std = (torch.tensor(v, device=like.device, dtype=like.dtype) for v in (self.mean, self.std))
            self._moved[key] = (mean.view(-1, 1, 1), std.view(-1, 1, 1))
        return self._moved[key]
