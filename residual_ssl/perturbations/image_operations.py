"""Operations on batches of images, each image with a magnitude of its own: what RandAugment draws from."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

# (images (n, C, H, W) in [0, 1], magnitudes (n,) in [0, 1]) -> images
Operation = Callable[[Tensor, Tensor], Tensor]

_GREY = (0.299, 0.587, 0.114)
_BLEND = (0.05, 0.95)  # share of the image in a blend with what lacks the quality
_SHEAR = _SHIFT = (-0.3, 0.3)  # of the other, of the own side
_DEGREES = (-30.0, 30.0)
_BITS = (4, 8)


def auto_contrast(images: Tensor, magnitude: Tensor) -> Tensor:
    """Each channel stretched to [0, 1]; one of a single level stays."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    return torch.where(high > low, (images - low) / (high - low).clamp(min=1e-6), images)


def brightness(images: Tensor, magnitude: Tensor) -> Tensor:
    """Blended with black."""
    return _blended(images, torch.zeros_like(images), magnitude)


def colour(images: Tensor, magnitude: Tensor) -> Tensor:
    """Blended with its grey version."""
    return _blended(images, _grey(images), magnitude)


def contrast(images: Tensor, magnitude: Tensor) -> Tensor:
    """Blended with its mean grey."""
    return _blended(images, _grey(images).mean((1, 2, 3), keepdim=True), magnitude)


def sharpness(images: Tensor, magnitude: Tensor) -> Tensor:
    """Blended with its smoothed version, which leaves the border as it is."""
    channels = images.shape[1]
    kernel = images.new_tensor([[1.0, 1.0, 1.0], [1.0, 5.0, 1.0], [1.0, 1.0, 1.0]]) / 13
    smooth = images.clone()
    if min(images.shape[2:]) > 2:
        smooth[:, :, 1:-1, 1:-1] = F.conv2d(images, kernel.expand(channels, 1, 3, 3), groups=channels)
    return _blended(images, smooth, magnitude)


def equalize(images: Tensor, magnitude: Tensor) -> Tensor:
    """Each channel's 256 levels made equally frequent, as far as they go."""
    levels = (images * 255).round().long().flatten(2)
    counts = levels.new_zeros(*levels.shape[:2], 256).scatter_add_(2, levels, torch.ones_like(levels))
    brightest = counts.gather(2, levels.amax(2, keepdim=True))
    step = (levels.shape[2] - brightest) // 255
    below = counts.cumsum(2) - counts
    table = ((below + step // 2) // step.clamp(min=1)).clamp(0, 255)
    equal = table.gather(2, levels).to(images.dtype) / 255
    return torch.where(step > 0, equal, images.flatten(2)).view_as(images)


def identity(images: Tensor, magnitude: Tensor) -> Tensor:
    """The images themselves."""
    return images


def posterize(images: Tensor, magnitude: Tensor) -> Tensor:
    """4 to 7 bits for each channel."""
    step = 2 ** (8 - _between(_BITS, magnitude).floor().clamp(max=8))
    step = step.view(-1, 1, 1, 1)
    return ((images * 255).round() / step).floor() * step / 255


def solarize(images: Tensor, magnitude: Tensor) -> Tensor:
    """Inverted from a level on that is drawn from 0 to 256."""
    threshold = (256 * magnitude / 255).view(-1, 1, 1, 1)
    return torch.where(images >= threshold, 1 - images, images)


def rotate(images: Tensor, magnitude: Tensor) -> Tensor:
    """By up to 30° about the middle."""
    angle = _between(_DEGREES, magnitude) * (torch.pi / 180)
    cosine, sine = angle.cos(), angle.sin()
    return _moved(images, (cosine, -sine), (sine, cosine))


def shear_x(images: Tensor, magnitude: Tensor) -> Tensor:
    """Rows shifted by up to 0.3 of their distance from the top."""
    slope, one, none = _between(_SHEAR, magnitude), torch.ones_like(magnitude), torch.zeros_like(magnitude)
    return _moved(images, (one, slope), (none, one), (slope * images.shape[2] / 2, none))


def shear_y(images: Tensor, magnitude: Tensor) -> Tensor:
    """Columns shifted by up to 0.3 of their distance from the left."""
    slope, one, none = _between(_SHEAR, magnitude), torch.ones_like(magnitude), torch.zeros_like(magnitude)
    return _moved(images, (one, none), (slope, one), (none, slope * images.shape[3] / 2))


def translate_x(images: Tensor, magnitude: Tensor) -> Tensor:
    """Sideways by up to 0.3 of the width."""
    one, none = torch.ones_like(magnitude), torch.zeros_like(magnitude)
    return _moved(images, (one, none), (none, one), (_between(_SHIFT, magnitude) * images.shape[3], none))


def translate_y(images: Tensor, magnitude: Tensor) -> Tensor:
    """Up or down by up to 0.3 of the height."""
    one, none = torch.ones_like(magnitude), torch.zeros_like(magnitude)
    return _moved(images, (one, none), (none, one), (none, _between(_SHIFT, magnitude) * images.shape[2]))


OPERATIONS: Mapping[str, Operation] = {
    function.__name__: function
    for function in (
        *(auto_contrast, brightness, colour, contrast, equalize, identity, posterize, rotate, sharpness, shear_x),
        *(shear_y, solarize, translate_x, translate_y),
    )
}


def _between(ends: tuple[float, float], magnitude: Tensor) -> Tensor:
    return ends[0] + (ends[1] - ends[0]) * magnitude


def _blended(images: Tensor, other: Tensor, magnitude: Tensor) -> Tensor:
    share = _between(_BLEND, magnitude).view(-1, 1, 1, 1)
    return other + share * (images - other)


def _grey(images: Tensor) -> Tensor:
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    return (images * images.new_tensor(_GREY).view(3, 1, 1)).sum(1, keepdim=True)


def _moved(
    images: Tensor,
    x: tuple[Tensor, Tensor],
    y: tuple[Tensor, Tensor],
    shift: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Pixel (u, v) from the middle becomes the nearest one to (x·(u, v), y·(u, v)) + shift, black outside."""
    height, width = images.shape[2:]
    none = torch.zeros_like(x[0])
    across, down = (none, none) if shift is None else shift
    # Coordinates of affine_grid have the sides' halves as their units.
    theta = torch.stack(
        [
            torch.stack([x[0], x[1] * height / width, across * 2 / width], 1),
            torch.stack([y[0] * width / height, y[1], down * 2 / height], 1),
        ],
        1,
    )
    grid = F.affine_grid(theta.to(images.dtype), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="nearest", padding_mode="zeros", align_corners=False)
