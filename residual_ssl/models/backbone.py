"""Encoders: timm's convolutional backbones and vision transformers, with random or pretrained weights."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from residual_ssl.errors import InvalidInputError, MissingDataError
from residual_ssl.models.weights import load_backbone_weights


def create_backbone(
    name: str,
    *,
    output_stride: int = 32,
    weights: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
) -> nn.Module:
    """A timm backbone that returns its feature maps, from the lowest level to the highest.

    Args:
        name: a timm model, e.g. ``"resnet50"`` or ``"mobilenetv2_100"``.
        output_stride: 8, 16 or 32: input size over size of the last feature map; dilation takes the place of stride.
        weights: None for random ones, ``"imagenet"`` for timm's pretrained ones (downloaded at first use), or the path
            of a state dict, see :func:`load_backbone_weights`.
        options: further arguments of ``timm.create_model``, e.g. ``{"pad_type": "same"}`` for weights from TensorFlow.

    Returns:
        The backbone, a module with timm's ``feature_info``: channels and reductions of each level.

    Raises:
        InvalidInputError: an unknown name or output stride, or a backbone that cannot be built with them.
        MissingDataError: weights that cannot be downloaded, or a file that is not there.
        CheckpointError: a file that cannot be read or does not fit.

    Example:
        >>> create_backbone("resnet18", output_stride=8).feature_info.reduction()
        [2, 4, 8, 8, 8]
    """
    if output_stride not in (8, 16, 32):
        raise InvalidInputError(f"output_stride: got {output_stride}, expected 8, 16 or 32")
    backbone = _create(
        name, weights, {"features_only": True, "output_stride": output_stride, **(options or {})}, _DILATED
    )
    # Older versions of timm take the argument also for backbones that do nothing with it.
    feature_info: Any = backbone.feature_info
    if output_stride < 32 and (reached := feature_info.reduction()[-1]) != output_stride:
        raise InvalidInputError(
            f"backbone: {name!r} cannot be built with output stride {output_stride}, it has {reached}; expected "
            f"{_DILATED}"
        )
    return backbone


_DILATED = (
    "a convolutional backbone with feature maps and dilation, e.g. resnet50, resnet101, resnet101s, xception65 or "
    "mobilenetv2_100"
)


def create_transformer(
    name: str, *, weights: str | Path | None = None, options: Mapping[str, Any] | None = None
) -> VisionTransformer:
    """A timm vision transformer without its classifier, for images of any multiple of its patch size.

    Position embeddings are resampled (bicubic) to the grid of patches of each batch.

    Args:
        name: a timm ``VisionTransformer``, e.g. ``"vit_small_patch14_dinov2"``.
        weights: None for random ones, ``"dinov2"`` (of the models named so) or ``"imagenet"`` (of the others) for
            timm's pretrained ones, downloaded at first use, or the path of a state dict, see
            :func:`load_backbone_weights`.
        options: further arguments of ``timm.create_model``, e.g. ``{"drop_path_rate": 0.1}``.

    Raises:
        InvalidInputError: an unknown name, a model of another kind, weights that timm does not have for it.
        MissingDataError, CheckpointError: as of :func:`create_backbone`.

    Example:
        >>> import torch
        >>> transformer = create_transformer("vit_small_patch14_dinov2", options={"depth": 1, "img_size": 28})
        >>> transformer.forward_features(torch.zeros(1, 3, 42, 56)).shape  # the class token and 3 × 4 patches
        torch.Size([1, 13, 384])
    """
    fitting = "a plain vision transformer, e.g. vit_small_patch14_dinov2, vit_base_patch14_dinov2"
    transformer = _create(name, weights, {"num_classes": 0, "dynamic_img_size": True, **(options or {})}, fitting)
    if not isinstance(transformer, VisionTransformer):
        raise InvalidInputError(f"backbone: {name!r} is a {type(transformer).__name__}, expected {fitting}")
    return transformer


def create_classifier(
    name: str, *, weights: str | Path | None = None, options: Mapping[str, Any] | None = None
) -> nn.Module:
    """A timm model without its classifier: images to pooled features ``(B, num_features)``.

    Args:
        name, weights: as of :func:`create_backbone` or, for vision transformers, :func:`create_transformer`.
        options: further arguments of ``timm.create_model``.

    Raises:
        InvalidInputError: an unknown name, or a model that cannot be built with these options.
        MissingDataError, CheckpointError: as of :func:`create_backbone`.

    Example:
        >>> import torch
        >>> create_classifier("resnet18").eval()(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 512])
    """
    return _create(name, weights, {"num_classes": 0, **(options or {})}, "a classifier, e.g. vit_small_patch16_224")


def _create(name: str, weights: str | Path | None, arguments: Mapping[str, Any], fitting: str) -> nn.Module:
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=3)
        raise InvalidInputError(
            f"backbone: got {name!r}, expected the name of a timm model"
            + (f"; close ones: {', '.join(close)}" if close else "; timm.list_models() lists them")
        )
    if weights in ("imagenet", "dinov2"):
        return _create_pretrained(name, str(weights), arguments)
    try:
        backbone: nn.Module = timm.create_model(name, pretrained=False, **arguments)
    except (RuntimeError, TypeError, AssertionError, NotImplementedError) as error:
        raise InvalidInputError(
            f"backbone: {name!r} cannot be built with {arguments} ({error}); expected {fitting}"
        ) from error
    if weights is not None:
        load_backbone_weights(backbone, Path(weights))
    return backbone


def _create_pretrained(name: str, weights: str, arguments: Mapping[str, Any]) -> nn.Module:
    known = "dinov2" if "dinov2" in name else "imagenet"
    if weights != known:
        raise InvalidInputError(f"weights: got {weights!r} for backbone {name!r}, expected {known!r}, None or a path")
    # Whatever the hub client raises (of at least four libraries), the answer for the user is the same.
    try:
        return timm.create_model(name, pretrained=True, **arguments)  # type: ignore[no-any-return]
    except Exception as error:
        raise MissingDataError(
            f"weights: {weights!r} could not be had for backbone {name!r} ({type(error).__name__}: {error}); give the "
            "path of a local .safetensors or .pth file with the backbone's state dict, or None for random weights"
        ) from error
