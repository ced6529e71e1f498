"""Checkpoints: written whole or not at all, and read without running code from the file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from residual_ssl.errors import CheckpointError, MissingDataError


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint beside ``path`` and move it there in one step; what was at ``path`` survives any failure.

    Raises:
        CheckpointError: the disk is full or not writable; the partial file is removed.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            torch.save(dict(content), file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, RuntimeError) as error:
        partial.unlink(missing_ok=True)
        kept = "the previous checkpoint there is intact" if path.exists() else "nothing was written"
        raise CheckpointError(
            f"checkpoint {path}: cannot be written ({error}); {kept}. Free space or change run_dir"
        ) from error


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU.

    Raises:
        MissingDataError: no such file.
        CheckpointError: the file is not a checkpoint of this library, or is damaged.
    """
    if not path.is_file():
        raise MissingDataError(f"checkpoint {path}: no such file; expected last.pt or best.pt of a run directory")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"checkpoint {path}: cannot be read ({type(error).__name__}); it is damaged or foreign"
        ) from error
    if not isinstance(content, dict) or "model" not in content or "config" not in content:
        raise CheckpointError(
            f"checkpoint {path}: expected the entries model and config; not a checkpoint of this library"
        )
    return content


def restore_weights(model: nn.Module, weights: Mapping[str, torch.Tensor], path: Path) -> None:
    """Load model weights, all of them.

    Raises:
        CheckpointError: listing keys that are missing, unexpected or of another shape (another number of classes, say).
    """
    own = model.state_dict()
    differences = {
        "missing": [key for key in own if key not in weights],
        "unexpected": [key for key in weights if key not in own],
        "of another shape": [
            f"{key} {tuple(weights[key].shape)} for {tuple(own[key].shape)}"
            for key in own
            if key in weights and weights[key].shape != own[key].shape
        ],
    }
    if any(differences.values()):
        listed = "; ".join(
            f"{len(keys)} {kind}: {', '.join(keys[:5])}{' …' if len(keys) > 5 else ''}"
            for kind, keys in differences.items()
            if keys
        )
        raise CheckpointError(
            f"checkpoint {path}: does not fit the model ({listed}); was it made with another model or K?"
        )
    model.load_state_dict(dict(weights))
