"""Perturbation of vectors of features: some are hidden, the others get noise."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from residual_ssl.runtime.arguments import NotNegative, Share, checked
from residual_ssl.runtime.global_batch import uniform


class FeatureNoise(nn.Module):
    """Set each feature to 0 with some probability, and add Gaussian noise to the features that are not 0.

    0 is the mean of a standardised feature, and a word that does not occur in a TF-IDF vector.

    Args:
        masked: probability of each feature to be set to 0, in [0, 1].
        deviation: standard deviation of the noise, ≥ 0.

    Call: floating ``(B, *S)``, to the same shape and dtype.

    Raises:
        InvalidInputError: a choice outside its range.

    Source: masking noise of denoising autoencoders (Vincent et al., ICML 2008) with the additive noise of Ladder
    networks, arXiv 1507.02672.

    Example:
        >>> FeatureNoise(masked=1.0)(torch.ones(1, 3))
        tensor([[0., 0., 0.]])
    """

    @checked
    def __init__(self, masked: Share = 0.3, deviation: NotNegative = 0.0) -> None:
        super().__init__()
        self.masked = masked
        self.deviation = deviation

    def forward(self, x: Tensor) -> Tensor:
        kept = uniform(*x.shape, device=x.device) >= self.masked
        if self.deviation > 0:
            # Uniform numbers, since these are the ones that do not depend on how a batch is divided.
            normal = torch.special.ndtri(uniform(*x.shape, device=x.device).clamp(min=1e-7))
            x = x + (self.deviation * normal).to(x.dtype) * (x != 0)
        return x * kept

    def extra_repr(self) -> str:
        return f"masked={self.masked}, deviation={self.deviation}"
