"""Encoders: timm backbones as feature pyramids, with pretrained weights from timm or from a file."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import timm
import torch
from torch import Tensor, nn

from residual_ssl.errors import CheckpointError, InvalidInputError, MissingDataError

# What classifiers have behind the feature pyramid; "bn2" at the top level is the one after MobileNet's conv_head.
_CLASSIFIER = ("fc.", "classifier.", "head.", "conv_head.", "bn2.")
_LISTED = 5


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
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=3)
        raise InvalidInputError(
            f"backbone: got {name!r}, expected the name of a timm model"
            + (f"; close ones: {', '.join(close)}" if close else "; timm.list_models() lists them")
        )
    if output_stride not in (8, 16, 32):
        raise InvalidInputError(f"output_stride: got {output_stride}, expected 8, 16 or 32")
    arguments = {"features_only": True, "output_stride": output_stride, **(options or {})}
    if weights == "imagenet":
        return _create_pretrained(name, arguments)
    try:
        backbone: nn.Module = timm.create_model(name, pretrained=False, **arguments)
    except (RuntimeError, TypeError, AssertionError, NotImplementedError) as error:
        raise InvalidInputError(
            f"backbone: {name!r} cannot be built with {arguments} ({error}); expected a convolutional backbone with "
            "feature maps and dilation, e.g. resnet50, resnet101, resnet101s or mobilenetv2_100"
        ) from error
    if weights is not None:
        load_backbone_weights(backbone, Path(weights))
    return backbone


def _create_pretrained(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    # Whatever the hub client raises (of at least four libraries), the answer for the user is the same.
    try:
        return timm.create_model(name, pretrained=True, **arguments)  # type: ignore[no-any-return]
    except Exception as error:
        raise MissingDataError(
            f"weights: 'imagenet' could not be had for backbone {name!r} ({type(error).__name__}: {error}); give the "
            "path of a local .safetensors or .pth file with the backbone's state dict, or None for random weights"
        ) from error


def load_backbone_weights(backbone: nn.Module, path: Path) -> None:
    """Load a state dict of the backbone, or of the classifier built on it, into the backbone.

    Every parameter and statistic of the backbone must be in the file, with its shape; the classifier's own layers are
    left out. Numbers are cast to the dtype of the backbone. ``num_batches_tracked`` may be absent.

    Args:
        backbone: as of :func:`create_backbone`.
        path: ``.safetensors``, or a file of ``torch.save`` (read with ``weights_only=True``).

    Raises:
        MissingDataError: no such file.
        CheckpointError: not a state dict, or that of another model; the message lists keys, and nothing is loaded.
    """
    state = _read_state(path)
    expected = backbone.state_dict()
    found = {key: value for key, value in state.items() if key in expected or not key.startswith(_CLASSIFIER)}
    faults = {
        "missing": [key for key in expected if key not in found and not key.endswith("num_batches_tracked")],
        "unexpected": [key for key in found if key not in expected],
        "of another shape": [
            f"{key} {tuple(value.shape)} instead of {tuple(expected[key].shape)}"
            for key, value in found.items()
            if key in expected and value.shape != expected[key].shape
        ],
    }
    if any(faults.values()):
        listed = "; ".join(f"{len(keys)} {kind} ({_first(keys)})" for kind, keys in faults.items() if keys)
        raise CheckpointError(
            f"weights: {path} does not fit the backbone: {listed}. Expected the state dict of this very timm backbone; "
            "check the backbone's name"
        )
    backbone.load_state_dict(found, strict=False)


def _first(keys: list[str]) -> str:
    return ", ".join(keys[:_LISTED]) + (", …" if len(keys) > _LISTED else "")


def _read_state(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise MissingDataError(
            f"weights: no file {path}; expected None, 'imagenet' or the path of a .safetensors or .pth file"
        )
    try:
        if path.suffix == ".safetensors":
            state: object = safetensors.torch.load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise anything from KeyError to UnpicklingError
        raise CheckpointError(
            f"weights: {path} cannot be read ({type(error).__name__}: {error}); expected a .safetensors file or a "
            "state dict saved by torch.save(model.state_dict(), path)"
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        kind = (
            f"a dict with keys {_first(list(map(str, state)))}" if isinstance(state, Mapping) else type(state).__name__
        )
        raise CheckpointError(
            f"weights: {path} holds {kind}, expected a state dict (name → tensor); save the entry with the weights "
            "alone"
        )
    return state
