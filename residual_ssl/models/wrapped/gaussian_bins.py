"""A network of a mean and a variance as one of logits: a Gaussian over bins."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from residual_ssl.models.encoder_decoder import EncoderDecoder, FeaturePerturbation

# Deviation over half of the range of values: between what bins resolve, and what is as good as uniform.
_LOG_VARIANCE = (-14.0, 6.0)


def gaussian_logits(mean: Tensor, log_variance: Tensor, centres: Tensor) -> Tensor:
    """Log-shares of Gaussians in bins of one width, by the density at their centres.

    With width w, the logit of the bin of a value y is the log-likelihood of y, up to where in its bin it lies::

        ln w - (c_y - μ)² / 2σ² - ½ ln σ² - ½ ln 2π

    so that its negative is the heteroscedastic Gaussian loss. As logits, they are shared out among the K bins: the
    largest share, that of the bin nearest to the mean, falls as the variance grows. That is the confidence.

    Args:
        mean, log_variance: floating ``(B, *S)``.
        centres: ``(K,)``, of equal distances w.

    Returns:
        ``(B, K, *S)``, float32 or wider.

    Source: A. Kendall and Y. Gal, arXiv 1703.04977, eq. 5.

    Example:
        >>> shares = gaussian_logits(torch.zeros(1), torch.zeros(1), torch.tensor([-1.0, 0.0, 1.0])).exp()
        >>> [round(share, 4) for share in shares[0].tolist()]
        [0.242, 0.3989, 0.242]
    """
    wide = torch.promote_types(mean.dtype, torch.float32)
    mean, log_variance = mean.to(wide).unsqueeze(1), log_variance.to(wide).unsqueeze(1)
    centres = centres.to(wide)
    distance = centres.reshape(-1, *[1] * (mean.dim() - 2)) - mean
    width = centres[1] - centres[0]
    return width.log() - (distance.square() * (-log_variance).exp() + log_variance + math.log(2 * math.pi)) / 2


class GaussianBins(EncoderDecoder):
    """A network of two outputs, mean and log-variance, as one of logits of K bins; see :func:`gaussian_logits`.

    Outputs are in units of half the range of values, the mean from its middle: a network that starts near 0 starts with
    the middle, and a deviation of half the range.

    Args:
        network: gives ``(B, 2, *S)``.
        bins: K.

    Example:
        >>> from residual_ssl.models import MLP
        >>> GaussianBins(MLP(5, 2), 20)(torch.zeros(3, 5)).shape
        torch.Size([3, 20])
    """

    centres: Tensor

    def __init__(self, network: EncoderDecoder, bins: int) -> None:
        # As in TwoClassModel: the encoder stays inside the network.
        nn.Module.__init__(self)
        self.network = network
        self.num_classes = bins
        self.freeze_batchnorm = self.freeze_encoder = False  # the network keeps to its own choice
        width = 2 / bins  # in units of half the range, from -1 to 1
        centres = torch.linspace(-1 + width / 2, 1 - width / 2, bins)
        self.register_buffer("centres", centres, persistent=False)

    @property
    def encoder(self) -> nn.Module:  # type: ignore[override]
        """The network's encoder."""
        return self.network.encoder

    def encode(self, x: Tensor) -> list[Tensor]:
        return self.network.encode(x)

    def decode(self, features: Sequence[Tensor], size: tuple[int, ...]) -> Tensor:
        mean, log_variance = self.network.decode(features, size).unbind(1)
        return gaussian_logits(mean, log_variance.clamp(*_LOG_VARIANCE), self.centres)

    def perturb(self, features: Sequence[Tensor], perturbation: FeaturePerturbation) -> list[Tensor]:
        return self.network.perturb(features, perturbation)

    def check_input(self, x: Tensor) -> None:
        self.network.check_input(x)
