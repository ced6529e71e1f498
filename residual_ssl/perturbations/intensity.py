"""Perturbation of intensities: of signals and volumes, whose points stay where they are."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from residual_ssl.runtime.arguments import NotNegative, ShareBelowOne, checked
from residual_ssl.runtime.global_batch import uniform


class Intensity(nn.Module):
    """Scale and shift every channel of a sample, and add noise to every point.

    Args:
        gain: largest change of the scale, which is drawn from 1 ± gain; in [0, 1).
        offset: largest shift, drawn from ± offset; ≥ 0, in the units of the input.
        deviation: largest deviation of Gaussian noise (jitter), drawn from [0, deviation] for each sample; ≥ 0.

    Call: floating ``(B, C, *S)``, to the same shape and dtype.

    Raises:
        InvalidInputError: a choice outside its range.

    Source: jitter and scaling of T. Um et al., arXiv 1706.00527 (signals); the intensity augmentation of nnU-Net, arXiv
    1904.08128 (volumes).

    Example:
        >>> x = torch.ones(2, 1, 4)
        >>> Intensity(gain=0.5, deviation=0.0)(x).flatten(1).std(1)
        tensor([0., 0.])
    """

    @checked
    def __init__(self, gain: ShareBelowOne = 0.2, offset: NotNegative = 0.0, deviation: NotNegative = 0.1) -> None:
        super().__init__()
        self.gain = gain
        self.offset = offset
        self.deviation = deviation

    def forward(self, x: Tensor) -> Tensor:
        channels = (*x.shape[:2], *[1] * (x.dim() - 2))
        gain, offset = (2 * uniform(*channels, device=x.device) - 1 for _ in range(2))
        x = x * (1 + self.gain * gain).to(x.dtype) + (self.offset * offset).to(x.dtype)
        if not self.deviation:
            return x
        # Uniform numbers, since these are the ones that do not depend on how a batch is divided.
        normal = torch.special.ndtri(uniform(*x.shape, device=x.device).clamp(min=1e-7))
        strength = self.deviation * uniform(len(x), *[1] * (x.dim() - 1), device=x.device)
        noisy: Tensor = x + (strength * normal).to(x.dtype)
        return noisy

    def extra_repr(self) -> str:
        return f"gain={self.gain}, offset={self.offset}, deviation={self.deviation}"
