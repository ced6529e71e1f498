"""A classifier with a domain discriminator on its features, behind a reversed gradient."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor, nn

from residual_ssl.errors import ConfigError
from residual_ssl.models.classification_model import ClassificationModel

# Sizes of the published experiments of CDAN: the conditioned features above which, and to which, it samples.
_LARGEST_MAP = 4096
_SAMPLED = 1024


def reverse_gradient(x: Tensor, strength: Tensor | float) -> Tensor:
    """``x`` as it is, with ``-strength`` times the gradient: what descends after it ascends before it.

    Source: DANN, arXiv 1505.07818, §4.2.

    Example:
        >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
        >>> reverse_gradient(x, 0.5).sum().backward()
        >>> x.grad
        tensor([-0.5000, -0.5000])
    """
    return x.detach() - strength * (x - x.detach())


class MultilinearMap(nn.Module):
    """Features conditioned on predictions, ``f ⊗ p``, or a random projection of it where that is large.

    Up to 4,096 products ``D·K`` all of them are given. Above, ``(R_f f) ⊙ (R_p p) / √d`` with d = 1,024 and matrices
    of standard normal entries, drawn once: inner products of what it gives are in expectation those of ``f ⊗ p``.

    Args:
        feature_dim: D.
        num_classes: K.

    Call: ``(features (B, D), probabilities (B, K)) -> (B, out_dim)``.

    Source: CDAN, arXiv 1705.10667, §3.1, eq. 5 and 6.

    Example:
        >>> MultilinearMap(2, 2)(torch.tensor([[1.0, 3.0]]), torch.tensor([[0.5, 0.5]]))
        tensor([[0.5000, 0.5000, 1.5000, 1.5000]])
    """

    of_features: Tensor
    of_probabilities: Tensor

    def __init__(self, feature_dim: int, num_classes: int) -> None:
        super().__init__()
        self.sampled = feature_dim * num_classes > _LARGEST_MAP
        self.out_dim = _SAMPLED if self.sampled else feature_dim * num_classes
        if self.sampled:
            self.register_buffer("of_features", torch.randn(feature_dim, _SAMPLED))
            self.register_buffer("of_probabilities", torch.randn(num_classes, _SAMPLED))

    def forward(self, features: Tensor, probabilities: Tensor) -> Tensor:
        if self.sampled:
            return (features @ self.of_features) * (probabilities @ self.of_probabilities) / math.sqrt(_SAMPLED)
        return rearrange(features.unsqueeze(2) * probabilities.unsqueeze(1), "b d k -> b (d k)")


class DomainNetwork(nn.Module):
    """A classifier and a discriminator that tells from its features which domain a sample is of.

    Args:
        network: classifier, a :class:`~residual_ssl.models.ClassificationModel`.
        num_classes: K.
        hidden: width of the discriminator's two hidden layers.
        conditioned: the discriminator sees :class:`MultilinearMap` of features and predictions; False: features alone.

    ``forward(x, strength)`` gives the class logits ``(B, K)`` and the domain logits ``(B,)``, whose gradient into
    the classifier is reversed and scaled by ``strength``. No gradient passes through the predictions as a condition.

    Raises:
        ConfigError: another network, as those of other tasks.
    """

    def __init__(self, network: nn.Module, num_classes: int, hidden: int = 1024, conditioned: bool = False) -> None:
        super().__init__()
        if not isinstance(network, ClassificationModel):
            raise ConfigError(
                f"algorithm: tells domains apart by one feature vector a sample, and {type(network).__name__} is no "
                "ClassificationModel of residual_ssl.models; give it a classifier, task=classification, or choose "
                "another algorithm"
            )
        self.network = network
        self.condition = MultilinearMap(network.feature_dim, num_classes) if conditioned else None
        width = network.feature_dim if self.condition is None else self.condition.out_dim
        self.discriminator = nn.Sequential(
            nn.Linear(width, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 1),
        )

    @property
    def encoder(self) -> nn.Module:
        """The classifier's pretrained part, for learning rates."""
        return self.network.encoder

    def forward(self, x: Tensor, strength: Tensor | float) -> tuple[Tensor, Tensor]:
        features = self.network.encode(x)
        logits = self.network.decode(features)
        judged = reverse_gradient(features[-1], strength)
        if self.condition is not None:
            judged = self.condition(judged, logits.detach().softmax(1))
        return logits, self.discriminator(judged).squeeze(1)
