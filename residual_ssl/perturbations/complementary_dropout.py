"""Feature perturbation of two views at once: what one of them loses, the other keeps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from residual_ssl.errors import InvalidInputError
from residual_ssl.runtime.arguments import Share, checked
from residual_ssl.runtime.global_batch import uniform


class ComplementaryDropout(nn.Module):
    """Drop a random half of the channels in the first view of a sample and the other half in its second view.

    What is kept is doubled, so that both views together hold every channel once and each has the features' mean.

    Args:
        probability: probability that a sample is perturbed at all; in both views, or in none.

    Call: features ``(2B, C, *S)``, the first views of B samples and then the second views of the same samples, to the
    same shape and dtype.

    Raises:
        InvalidInputError: a probability outside [0, 1]; an odd number of views.

    Source: UniMatch V2, arXiv 2410.10777, §3.3 (complementary dropout).

    Example:
        >>> both = ComplementaryDropout(1.0)(torch.ones(2, 64, 4, 4))
        >>> sorted(both[0].unique().tolist()), (both[0] + both[1]).unique().tolist()
        ([0.0, 2.0], [2.0])
    """

    @checked
    def __init__(self, probability: Share = 0.5) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, features: Tensor) -> Tensor:
        views, channels = features.shape[:2]
        if views % 2:
            raise InvalidInputError(
                f"features: got {views} views, expected an even number: the first views of all samples, then the second"
            )
        samples = views // 2
        kept = (uniform(samples, channels, device=features.device) < 0.5).to(features.dtype)
        perturbed = uniform(samples, 1, device=features.device) < self.probability
        first, second = (torch.where(perturbed, 2 * half, 1.0) for half in (kept, 1 - kept))
        return features * torch.cat([first, second]).reshape(views, channels, *[1] * (features.dim() - 2))

    def extra_repr(self) -> str:
        return f"probability={self.probability}"
