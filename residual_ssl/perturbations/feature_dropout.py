"""Feature perturbation: whole channels of an encoder's features are dropped."""

from __future__ import annotations

from torch import Tensor, nn

from residual_ssl.runtime.arguments import ShareBelowOne, checked
from residual_ssl.runtime.global_batch import uniform


class FeatureDropout(nn.Module):
    """Drop whole channels and scale the rest, in training and evaluation mode alike.

    Args:
        probability: probability of dropping a channel, in [0, 1).

    Call: features ``(B, C, *S)`` of any dtype, to the same shape and dtype.

    Source: the Dropout2d(0.5) branch of UniMatch, arXiv 2208.09910, §3.2.

    Example:
        >>> import torch
        >>> dropped = FeatureDropout(0.5)(torch.ones(2, 64, 4, 4))
        >>> sorted(dropped.unique().tolist())
        [0.0, 2.0]
    """

    @checked
    def __init__(self, probability: ShareBelowOne = 0.5) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, features: Tensor) -> Tensor:
        shape = (*features.shape[:2], *[1] * (features.dim() - 2))
        kept = uniform(*shape, device=features.device) >= self.probability
        return features * kept.to(features.dtype) / (1 - self.probability)

    def extra_repr(self) -> str:
        return f"probability={self.probability}"
