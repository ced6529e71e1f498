"""Any classifier of timm, with random or pretrained weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from timm.models import group_parameters
from torch import Tensor, nn

from residual_ssl.models.backbone import create_classifier
from residual_ssl.models.classification_model import ClassificationModel


class TimmClassifier(ClassificationModel):
    """A timm network up to its pooled features, and a new linear classifier.

    Args:
        num_classes: K ≥ 2.
        backbone: any model of timm: ``"vit_small_patch16_224"``, ``"resnet50"``, ….
        weights: None for random ones, ``"imagenet"`` (``"dinov2"`` of the models named so) for timm's pretrained
            ones, downloaded at first use, or the path of the backbone's state dict; of vision transformers, patches and
            position embeddings of another size are resampled.
        backbone_options: further arguments of ``timm.create_model``: ``{"img_size": 32, "patch_size": 2}``.
        freeze_batchnorm: keep the BatchNorm layers of the backbone in eval mode, also under ``.train()``, as
            :class:`~residual_ssl.models.EncoderDecoder` does: for batches of another kind than its statistics.
        freeze_encoder: train the classifier alone.

    Raises:
        InvalidInputError: an unknown name, or arguments that it does not take.
        MissingDataError, CheckpointError: weights that are not to be had, or do not fit.

    Source: pretrained vision transformers as in USB, arXiv 2208.07204, §4.

    Example:
        >>> import torch
        >>> options = {"depth": 1, "embed_dim": 24, "img_size": 32, "patch_size": 8}
        >>> model = TimmClassifier(10, "vit_small_patch16_224", backbone_options=options)
        >>> model.encode(torch.zeros(2, 3, 32, 32))[0].shape, model(torch.zeros(2, 3, 32, 32)).shape
        (torch.Size([2, 24]), torch.Size([2, 10]))
    """

    def __init__(
        self,
        num_classes: int,
        backbone: str = "vit_small_patch16_224",
        weights: str | Path | None = None,
        *,
        backbone_options: Mapping[str, Any] | None = None,
        freeze_batchnorm: bool = False,
        freeze_encoder: bool = False,
    ) -> None:
        encoder: nn.Module = create_classifier(backbone, weights=weights, options=backbone_options)
        features: int = encoder.num_features  # type: ignore[assignment]
        super().__init__(encoder, features, num_classes, freeze_batchnorm, freeze_encoder)

    def encode(self, x: Tensor) -> list[Tensor]:
        return [self.encoder(x)]

    def parameter_layers(self) -> list[list[nn.Parameter]]:
        """The parameters of each layer from the input to the head, by timm's own grouping of the backbone."""
        named = dict(self.encoder.named_parameters())
        groups = group_parameters(self.encoder, self.encoder.group_matcher(coarse=False))  # type: ignore[operator]
        layers = [[named[name] for name in groups[layer] if name in named] for layer in sorted(groups)]
        return [*(layer for layer in layers if layer), list(self.head.parameters())]
