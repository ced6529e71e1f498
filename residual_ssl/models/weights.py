"""Pretrained weights of backbones from files: everything must fit, and whatever does not is listed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor, nn

from residual_ssl.errors import CheckpointError, MissingDataError

# What classifiers have behind the feature pyramid; "bn2" at the top level is the one after MobileNet's conv_head.
_CLASSIFIER = ("fc.", "classifier.", "head.", "conv_head.", "bn2.")
_LISTED = 5


def load_backbone_weights(backbone: nn.Module, path: Path) -> None:
    """Load a state dict of the backbone, or of the classifier built on it, into the backbone.

    Every parameter and statistic of the backbone must be in the file, with its shape; the classifier's own layers are
    left out. Numbers are cast to the dtype of the backbone. ``num_batches_tracked`` may be absent. For a vision
    transformer, position embeddings of another image size and patch embeddings of another patch size are resampled to
    its own, and the files that the authors of DINOv2 published are understood as well as timm's.

    Args:
        backbone: as of :func:`~residual_ssl.models.create_backbone` or :func:`~residual_ssl.models.create_transformer`.
        path: ``.safetensors``, or a file of ``torch.save`` (read with ``weights_only=True``).

    Raises:
        MissingDataError: no such file.
        CheckpointError: not a state dict, or that of another model; the message lists keys, and nothing is loaded.
    """
    expected = backbone.state_dict()
    state = _renamed(_read_state(path), backbone)
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


def _renamed(state: Mapping[str, Tensor], backbone: nn.Module) -> Mapping[str, Tensor]:
    if isinstance(backbone, VisionTransformer):
        try:
            return checkpoint_filter_fn(dict(state), backbone)  # type: ignore[no-any-return]
        except (RuntimeError, KeyError, AttributeError):
            return state  # of another model, whose keys will be listed
    # timm flattens the blocks of some models, so that "blocks.0.stack" of the classifier is "blocks_0.stack" here.
    expected = backbone.state_dict().keys()
    flat = {key: key.replace(".", "_", 1) for key in state}
    return {flat[key] if flat[key] in expected else key: value for key, value in state.items()}


def _first(keys: list[str]) -> str:
    return ", ".join(keys[:_LISTED]) + (", …" if len(keys) > _LISTED else "")


def _read_state(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise MissingDataError(
            f"weights: no file {path}; expected None, 'imagenet', 'dinov2' or the path of a .safetensors or .pth file"
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
