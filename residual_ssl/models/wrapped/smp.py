"""Networks of segmentation_models_pytorch: any of its decoders on any of its encoders."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from residual_ssl.errors import InvalidInputError, MissingDataError, MissingPackageError
from residual_ssl.models.encoder_decoder import FeaturePerturbation
from residual_ssl.models.segmentation_model import SegmentationModel


class SMPSegmenter(SegmentationModel):
    """A network of ``segmentation_models_pytorch`` (the extra ``smp``), split into its encoder and its decoder.

    Where an architecture refuses images whose sides are no multiples of the encoder's stride, they are padded
    (replicated) at the right and the bottom, and the logits cut to their size. Of the features the finest and the
    coarsest are perturbed.

    Args:
        num_classes: K ≥ 2.
        architecture: ``"unet"``, ``"unetplusplus"``, ``"fpn"``, ``"deeplabv3plus"``, ``"segformer"``, ``"upernet"``, ….
        backbone: name of the encoder, ``"resnet34"``, ``"tu-convnext_tiny"`` (of timm), ….
        weights: of the encoder: ``"imagenet"`` and what else the library names, downloaded at first use; None for
            random ones.
        in_channels: C of the images.
        freeze_batchnorm, freeze_encoder: see :class:`~residual_ssl.models.EncoderDecoder`.
        options: further arguments of the architecture, ``{"decoder_attention_type": "scse"}``.

    Raises:
        MissingPackageError: the library is not installed.
        InvalidInputError: an unknown architecture or encoder, or arguments that they do not take.
        MissingDataError: weights that cannot be downloaded.
    """

    def __init__(
        self,
        num_classes: int,
        architecture: str = "unet",
        backbone: str = "resnet34",
        weights: str | None = None,
        in_channels: int = 3,
        freeze_batchnorm: bool = False,
        freeze_encoder: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        network = _created(architecture, backbone, weights, in_channels, num_classes, options or {})
        super().__init__(network.encoder, num_classes, freeze_batchnorm, freeze_encoder)
        self.in_channels = in_channels
        self.decoder: nn.Module = network.decoder
        self.segmentation_head: nn.Module = network.segmentation_head
        self._stride = int(network.encoder.output_stride) if network.requires_divisible_input_shape else 1

    def encode(self, x: Tensor) -> list[Tensor]:
        missing = [-side % self._stride for side in x.shape[2:]]
        if any(missing):
            x = F.pad(x, (0, missing[1], 0, missing[0]), mode="replicate")
        return list(self.encoder(x))

    def perturb(self, features: Sequence[Tensor], perturbation: FeaturePerturbation) -> list[Tensor]:
        """The finest and the coarsest features perturbed; the first entry is the image, others may be empty."""
        levels = [level for level, feature in enumerate(features) if level and feature.shape[1]]
        ends = {levels[0], levels[-1]}
        return [perturbation(feature) if level in ends else feature for level, feature in enumerate(features)]

    def decode(self, features: Sequence[Tensor], size: tuple[int, ...]) -> Tensor:
        logits: Tensor = self.segmentation_head(self.decoder(list(features)))
        return logits[:, :, : size[0], : size[1]]


def _created(
    architecture: str, backbone: str, weights: str | None, channels: int, num_classes: int, options: Mapping[str, Any]
) -> Any:
    try:
        smp: Any = importlib.import_module("segmentation_models_pytorch")
    except ImportError as error:
        raise MissingPackageError(
            "model: segmentation_models_pytorch cannot be imported; install the extra: pip install 'residual-ssl[smp]'"
        ) from error
    arguments = {"in_channels": channels, "classes": num_classes, **options}
    named = f"{architecture} on {backbone}"
    try:
        network = smp.create_model(architecture, backbone, encoder_weights=None, **arguments)
    except Exception as error:  # KeyError, ValueError, RuntimeError, TypeError of the library and of timm
        raise InvalidInputError(f"model: {named} cannot be built with {arguments}: {error}") from error
    if not isinstance(network.encoder.output_stride, int) or architecture.lower() == "dpt":
        raise InvalidInputError(f"model: {named} has no features of images alone; residual_ssl.models.DPT is the like")
    if weights is None:
        return network
    try:
        return smp.create_model(architecture, backbone, encoder_weights=weights, **arguments)
    except Exception as error:  # the network can be built, so that it is the weights
        raise MissingDataError(f"weights: {weights!r} could not be had for {backbone!r}: {error}") from error
