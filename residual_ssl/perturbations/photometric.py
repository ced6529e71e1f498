"""Photometric perturbation of images: colour jitter, grayscale and blur, drawn anew for each image of a batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as F

from residual_ssl.errors import InvalidInputError
from residual_ssl.runtime.arguments import Share, checked
from residual_ssl.runtime.global_batch import uniform


class Photometric(nn.Module):
    """Change the look of images and nothing of their geometry, so that pixel labels stay.

    Args:
        jitter: largest change of brightness, contrast, saturation (factors 1 ± value) and hue (turns, ≤ .5).
        jitter_probability, grayscale, blur: probabilities of each step for an image, in [0, 1]. Blur is Gaussian with
            σ uniform in ``sigma`` pixels.
        sigma: smallest and largest σ of the blur.

    Call: images ``(B, C, H, W)``, floating in [0, 1], to the same shape, dtype and range. Saturation, hue and grayscale
    are of RGB: images of other numbers of channels are changed in brightness, contrast and blur alone.

    The defaults are the strong view of UniMatch and CSL; CSL's masked view is ``jitter=(.2, .2, .2, .2), grayscale=0``.
    Source: UniMatch, arXiv 2208.09910, §4.1; CSL, arXiv 2509.16704, §3.4.

    Example:
        >>> import torch
        >>> images = torch.rand(2, 3, 16, 16)
        >>> Photometric()(images).shape
        torch.Size([2, 3, 16, 16])
    """

    @checked
    def __init__(
        self,
        jitter: tuple[float, float, float, float] = (0.5, 0.5, 0.5, 0.25),
        jitter_probability: Share = 0.8,
        grayscale: Share = 0.2,
        blur: Share = 0.5,
        sigma: tuple[float, float] = (0.1, 2.0),
    ) -> None:
        super().__init__()
        if len(jitter) != 4 or min(jitter) < 0 or jitter[3] > 0.5:
            raise InvalidInputError(f"jitter: got {tuple(jitter)}, expected four values ≥ 0, the last (hue) ≤ 0.5")
        if not 0 < sigma[0] <= sigma[1]:
            raise InvalidInputError(f"sigma: got {tuple(sigma)}, expected 0 < smallest ≤ largest")
        self.jitter = tuple(jitter)
        brightness, contrast, saturation, hue = jitter
        self._ranges = [(max(0.0, 1 - reach), 1 + reach) for reach in (brightness, contrast, saturation)] + [
            (-hue, hue)
        ]
        self.jitter_probability = jitter_probability
        self.grayscale = grayscale
        self.blur = blur
        self.sigma = (sigma[0], sigma[1])

    def forward(self, images: Tensor) -> Tensor:
        # Drawn on the CPU, a row for each image: reading the numbers then waits for no device.
        rows = uniform(len(images), _DRAWS, device=torch.device("cpu")).tolist()
        return torch.stack([self._changed(image, row) for image, row in zip(images, rows, strict=True)])

    def _changed(self, image: Tensor, draws: list[float]) -> Tensor:
        jitters, gray, blurs, sigma, *rest = draws
        amounts, order = rest[:4], rest[4:]
        rgb = len(image) == 3
        adjust = _ADJUST if rgb else (_brighter, _contrasted)
        if jitters < self.jitter_probability:
            for kind in sorted(range(4 if rgb else 2), key=order.__getitem__):
                if self.jitter[kind]:
                    image = adjust[kind](image, _between(self._ranges[kind], amounts[kind]))
        if rgb and gray < self.grayscale:
            image = F.rgb_to_grayscale(image, num_output_channels=3)
        if blurs < self.blur:
            kernel = 2 * round(3 * self.sigma[1]) + 1
            image = F.gaussian_blur(image, [kernel, kernel], [_between(self.sigma, sigma)])
        return image

    def changes_colours(self) -> bool:
        """Whether any of what is changed is of RGB alone."""
        return bool(self.grayscale or (self.jitter_probability and (self.jitter[2] or self.jitter[3])))

    def extra_repr(self) -> str:
        return (
            f"jitter={self.jitter}, jitter_probability={self.jitter_probability}, grayscale={self.grayscale}, "
            f"blur={self.blur}, sigma={self.sigma}"
        )


def _between(ends: tuple[float, float], share: float) -> float:
    return ends[0] + share * (ends[1] - ends[0])


def _brighter(image: Tensor, factor: float) -> Tensor:
    """Blended with black, as torchvision does."""
    return (image * factor).clamp(0, 1)


def _contrasted(image: Tensor, factor: float) -> Tensor:
    """Blended with the mean over all channels and pixels, as torchvision does with the mean of the grey image."""
    return (factor * image + (1 - factor) * image.mean()).clamp(0, 1)


_ADJUST = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
_DRAWS = 12  # whether to jitter, to take the colours, to blur; σ; four amounts; four numbers that order them
