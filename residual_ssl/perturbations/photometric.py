"""Photometric perturbation of images: colour jitter, grayscale and blur, drawn anew for each image of a batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from residual_ssl.errors import InvalidInputError


class Photometric(nn.Module):
    """Change the look of images and nothing of their geometry, so that pixel labels stay.

    Args:
        jitter: largest change of brightness, contrast, saturation (factors 1 ± value) and hue (turns, ≤ .5).
        jitter_probability, grayscale, blur: probabilities of each step for an image, in [0, 1]. Blur is Gaussian with
            σ uniform in ``sigma`` pixels.
        sigma: smallest and largest σ of the blur.

    Call: images ``(B, 3, H, W)``, floating in [0, 1], to the same shape, dtype and range.

    The defaults are the strong view of UniMatch and CSL; CSL's masked view is ``jitter=(.2, .2, .2, .2), grayscale=0``.
    Source: UniMatch, arXiv 2208.09910, §4.1; CSL, arXiv 2509.16704, §3.4.

    Example:
        >>> import torch
        >>> images = torch.rand(2, 3, 16, 16)
        >>> Photometric()(images).shape
        torch.Size([2, 3, 16, 16])
    """

    def __init__(
        self,
        jitter: tuple[float, float, float, float] = (0.5, 0.5, 0.5, 0.25),
        jitter_probability: float = 0.8,
        grayscale: float = 0.2,
        blur: float = 0.5,
        sigma: tuple[float, float] = (0.1, 2.0),
    ) -> None:
        super().__init__()
        if len(jitter) != 4 or min(jitter) < 0 or jitter[3] > 0.5:
            raise InvalidInputError(f"jitter: got {tuple(jitter)}, expected four values ≥ 0, the last (hue) ≤ 0.5")
        for name, value in (("jitter_probability", jitter_probability), ("grayscale", grayscale), ("blur", blur)):
            if not 0 <= value <= 1:
                raise InvalidInputError(f"{name}: got {value}, expected a probability in [0, 1]")
        kernel = 2 * round(3 * sigma[1]) + 1
        self.steps = v2.Compose(
            [
                v2.RandomApply([v2.ColorJitter(*jitter)], p=jitter_probability),
                v2.RandomGrayscale(p=grayscale),
                v2.RandomApply([v2.GaussianBlur(kernel, tuple(sigma))], p=blur),
            ]
        )

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([self.steps(image) for image in images])
