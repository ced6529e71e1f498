"""A network for one image as a network for two: what differs between their features."""

from __future__ import annotations

from collections.abc import Sequence

from einops import rearrange
from torch import Tensor, nn

from residual_ssl.errors import InvalidInputError
from residual_ssl.models.encoder_decoder import EncoderDecoder, FeaturePerturbation


class FeatureDifference(EncoderDecoder):
    """Decode ``|f(A) - f(B)|`` at every level of a network's features, for pairs ``(B, 2C, *S)``: A, then B.

    Both go through the encoder together, so that in training mode its BatchNorm sees both; the released code passes
    them one after the other. Perturbed features are perturbed differences.

    Args:
        network: an encoder and decoder for inputs ``(B, C, *S)``, as any of segmentation.

    Raises:
        InvalidInputError: when called, an odd number of channels.

    Source: the change detection of UniMatch, arXiv 2208.09910, §4.5, and UniMatch V2, arXiv 2410.10777.

    Example:
        >>> import torch
        >>> from residual_ssl.models import SmallSegmenter
        >>> model = FeatureDifference(SmallSegmenter(2, widths=(8,))).eval()
        >>> image, other = torch.rand(2, 1, 3, 16, 16)
        >>> model(torch.cat([image, other], 1)).shape
        torch.Size([1, 2, 16, 16])
        >>> model.encode(torch.cat([image, image], 1))[0].abs().max().item()
        0.0
    """

    def __init__(self, network: EncoderDecoder) -> None:
        # As in TwoClassModel: the encoder stays inside the network.
        nn.Module.__init__(self)
        self.network = network
        self.num_classes = network.num_classes
        self.freeze_batchnorm = self.freeze_encoder = False  # the network keeps to its own choice

    @property
    def encoder(self) -> nn.Module:  # type: ignore[override]
        """The network's encoder."""
        return self.network.encoder

    def encode(self, x: Tensor) -> list[Tensor]:
        # Neighbouring rows are the two of a pair, so that pairs stay together however a batch is divided.
        both = self.network.encode(rearrange(x, "b (two c) ... -> (b two) c ...", two=2))
        return [(feature[::2] - feature[1::2]).abs() for feature in both]

    def decode(self, features: Sequence[Tensor], size: tuple[int, ...]) -> Tensor:
        return self.network.decode(features, size)

    def perturb(self, features: Sequence[Tensor], perturbation: FeaturePerturbation) -> list[Tensor]:
        return self.network.perturb(features, perturbation)

    def check_input(self, x: Tensor) -> None:
        if x.dim() < 3 or x.shape[1] % 2:
            raise InvalidInputError(f"x: got shape {tuple(x.shape)}, expected pairs (B, 2C, *S): A, then B")
        self.network.check_input(x[:, : x.shape[1] // 2])
