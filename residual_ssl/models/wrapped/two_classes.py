"""Networks of sigmoid outputs as networks of points of two classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from residual_ssl.models.encoder_decoder import EncoderDecoder, FeaturePerturbation


def two_class_logits(outputs: Tensor, several: bool) -> Tensor:
    """Outputs ``z`` of a sigmoid as the logits ``(0, z)`` of the classes absent (0) and present (1).

    Their softmax is ``(1 - σ(z), σ(z))``, their cross-entropy the binary cross-entropy of ``z``: what holds for points
    of classes holds for them, unchanged.

    Args:
        outputs: floating ``(B, L, *S)``, one for each of L labels, which do not exclude each other.
        several: True for logits ``(B, 2, L, *S)``, a point for each label; False, where L = 1, for ``(B, 2, *S)``.

    Example:
        >>> z = torch.tensor([[2.0, -1.0]])
        >>> logits = two_class_logits(z, several=True)
        >>> logits.shape, torch.allclose(logits.softmax(1)[:, 1], z.sigmoid())
        (torch.Size([1, 2, 2]), True)
    """
    logits = torch.stack([torch.zeros_like(outputs), outputs], dim=1)
    return logits if several else logits.squeeze(2)


def two_class_network(network: nn.Module, several: bool) -> nn.Module:
    """A network of outputs ``(B, L, *S)`` as one of logits of two classes, see :func:`two_class_logits`.

    An :class:`EncoderDecoder` stays one, so that its features can be perturbed.

    Example:
        >>> from residual_ssl.models import SmallClassifier
        >>> two_class_network(SmallClassifier(5), several=True)(torch.zeros(3, 3, 8, 8)).shape
        torch.Size([3, 2, 5])
    """
    kind = TwoClassModel if isinstance(network, EncoderDecoder) else TwoClassLogits
    return kind(network, several)  # type: ignore[arg-type]


class TwoClassLogits(nn.Module):
    """:func:`two_class_network` of a network that maps inputs to outputs alone."""

    def __init__(self, network: nn.Module, several: bool) -> None:
        super().__init__()
        self.network = network
        self.several = several

    @property
    def encoder(self) -> Any:
        """The network's pretrained part, for learning rates; None where it names none."""
        return getattr(self.network, "encoder", None)

    def forward(self, x: Tensor) -> Tensor:
        return two_class_logits(self.network(x), self.several)


class TwoClassModel(EncoderDecoder):
    """:func:`two_class_network` of an :class:`EncoderDecoder`, whose encoder, decoder and perturbed levels it uses."""

    def __init__(self, network: EncoderDecoder, several: bool) -> None:
        # The encoder stays where it is, inside the network: a second name for it would be saved twice.
        nn.Module.__init__(self)
        self.network = network
        self.several = several
        self.num_classes = 2
        self.freeze_batchnorm = self.freeze_encoder = False  # the network keeps to its own choice

    @property
    def encoder(self) -> nn.Module:  # type: ignore[override]
        """The network's encoder."""
        return self.network.encoder

    def encode(self, x: Tensor) -> list[Tensor]:
        return self.network.encode(x)

    def decode(self, features: Sequence[Tensor], size: tuple[int, ...]) -> Tensor:
        return two_class_logits(self.network.decode(features, size), self.several)

    def perturb(self, features: Sequence[Tensor], perturbation: FeaturePerturbation) -> list[Tensor]:
        return self.network.perturb(features, perturbation)

    def check_input(self, x: Tensor) -> None:
        self.network.check_input(x)
