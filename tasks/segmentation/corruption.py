"""Images that are hard to see: heavy noise, blur, or next to no contrast."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

_NOISE = 0.3
_BLUR = 1 / 24  # deviation of the blur over the side of the image
_CONTRAST = 0.15

Array = NDArray[np.float32]


def corrupted(image: Array, rng: np.random.Generator) -> Array:
    """An image under one of three corruptions, drawn alike: what it shows, and where, stays.

    Gaussian noise of deviation 0.3, a Gaussian blur of deviation 1/24 of the side, or 0.15 of the contrast around the
    image's mean and then noise of deviation 0.05, so that a normalisation does not bring it back.

    Args:
        image: float32 ``(H, W, 3)`` in [0, 1].
        rng: source of all choices.

    Returns:
        A new image of the same shape and range.

    Source: three of the kinds of D. Hendrycks and T. Dietterich, arXiv 1903.12261, at strengths of our own.

    Example:
        >>> image = np.random.default_rng(0).random((32, 32, 3), dtype=np.float32)
        >>> corrupted(image, np.random.default_rng(1)).shape
        (32, 32, 3)
    """
    kind = rng.integers(3)
    if kind == 0:
        return _noisy(image, _NOISE, rng)
    if kind == 1:
        radius = _BLUR * max(image.shape[:2])
        return np.stack([_blurred(channel, radius) for channel in np.moveaxis(image, -1, 0)], axis=-1)
    mean = image.mean()
    return _noisy(mean + _CONTRAST * (image - mean), _NOISE / 6, rng)


def _noisy(image: Array, deviation: float, rng: np.random.Generator) -> Array:
    noisy: Array = np.clip(image + rng.normal(0, deviation, image.shape), 0, 1).astype(np.float32)
    return noisy


def _blurred(channel: Array, radius: float) -> Array:
    # Pillow blurs whole numbers only.
    grey = Image.fromarray(np.rint(channel * 255).astype(np.uint8))
    pixels = np.asarray(grey.filter(ImageFilter.GaussianBlur(radius)), dtype=np.float32)
    return pixels / np.float32(255)
