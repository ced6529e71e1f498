"""Checkpoints: written whole or not at all, checked when read, and read without running code from the file."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from residual_ssl.errors import CheckpointError, MissingDataError
from residual_ssl.runtime.files import atomic_file

FORMAT = 2  # 1: without the entry "format"; no processes, no count of skipped steps
_KINDS: dict[str, type | tuple[type, ...]] = {
    "model": Mapping,
    "config": Mapping,
    "class_names": list,
    "step": int,
    "selector": Mapping,
    "algorithm": Mapping,
    "optimizer": Mapping,
    "scaler": (Mapping, type(None)),
    "steps": int,
    "seconds": (int, float),
    "best": Mapping,
    "last": Mapping,
}
_TO_EVALUATE = ("model", "config", "class_names", "step")
_TO_CONTINUE = (*_TO_EVALUATE, "algorithm", "optimizer", "scaler", "steps", "seconds", "best", "last")


def save(path: Path, content: Mapping[str, Any], *, keep_as: Path | None = None) -> None:
    """Write a checkpoint beside ``path`` and move it there in one step; what was at ``path`` survives any failure.

    Args:
        path: of the file.
        content: tensors and plain values.
        keep_as: where the checkpoint that was at ``path`` is kept; None: it is replaced.

    Raises:
        CheckpointError: the disk is full or not writable; the partial file is removed.
    """
    with atomic_file(path, "checkpoint", CheckpointError, keep_as=keep_as) as file:
        torch.save({**content, "format": FORMAT}, file)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU, with at least the weights and the configuration; see also :func:`require`.

    The checksum of every part of the file is compared, so that no flipped bit in a tensor passes.

    Raises:
        MissingDataError: no such file.
        CheckpointError: the file is not a checkpoint of this library, is damaged, or is of a later version.
    """
    if not path.is_file():
        raise MissingDataError(f"checkpoint {path}: no such file; expected last.pt or best.pt of a run directory")
    _check_sums(path)
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
    version = content.get("format", 1)
    if not isinstance(version, int) or version > FORMAT:
        raise CheckpointError(
            f"checkpoint {path}: is of format {version!r}; this version of the library reads up to {FORMAT}. "
            "Install the version that wrote it, or a later one"
        )
    require(content, (), path)
    return content


def require_evaluable(content: Mapping[str, Any], path: Path) -> None:
    """Refuse a checkpoint that lacks what evaluation needs.

    Raises:
        CheckpointError: naming all entries that are missing.
    """
    _require_current(content, path)
    require(content, _TO_EVALUATE, path)
    if missing := [name for name in ("task", "algorithm") if not isinstance(content["config"].get(name), Mapping)]:
        raise CheckpointError(f"checkpoint {path}: its configuration lacks {', '.join(missing)}; it builds no network")


def _require_current(content: Mapping[str, Any], path: Path) -> None:
    version = content.get("format", 1)
    if version < FORMAT:
        raise CheckpointError(
            f"checkpoint {path}: is of format {version}, from before selectors and modules had their present names "
            "(CHANGELOG, Renamed); start a new run from its weights, init_from=…, or use the version that wrote it"
        )


def require_continuable(content: Mapping[str, Any], path: Path) -> None:
    """Refuse a checkpoint that lacks what training needs to go on.

    Raises:
        CheckpointError: naming all entries that are missing.
    """
    if "optimizer" not in content:
        raise CheckpointError(f"checkpoint {path}: holds weights only, training cannot be continued from it")
    _require_current(content, path)
    require(content, _TO_CONTINUE, path)
    require_evaluable(content, path)


def require(content: Mapping[str, Any], names: tuple[str, ...], path: Path) -> None:
    """Refuse a checkpoint without these entries, or with any entry of another kind than it should be.

    Raises:
        CheckpointError: in one line, all of them.
    """
    found = [f"{name} is missing" for name in names if name not in content]
    for name, kind in _KINDS.items():
        if name in content and (not isinstance(content[name], kind) or isinstance(content[name], bool)):
            found.append(f"{name} is {_shown(content[name])}")
    weights = content.get("model")
    if isinstance(weights, Mapping):
        wrong = [key for key, value in weights.items() if not isinstance(value, Tensor)]
        found += [f"model.{key} is {_shown(weights[key])}, no tensor" for key in wrong[:3]]
    names_of_classes = content.get("class_names")
    if isinstance(names_of_classes, list) and not all(isinstance(name, str) for name in names_of_classes):
        found.append("class_names are no texts")
    if isinstance(content.get("step"), int) and content["step"] < 0:
        found.append(f"step is {content['step']}")
    if found:
        version = content.get("format", 1)
        raise CheckpointError(
            f"checkpoint {path}: {'; '.join(found)}. Not a whole checkpoint of this library (format {version})"
        )


def restore_weights(model: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Load model weights, all of them.

    Raises:
        CheckpointError: listing keys that are missing, unexpected or of another shape (another number of classes, say).
    """
    expected = model.state_dict()
    differences = {
        "missing": [key for key in expected if key not in weights],
        "unexpected": [key for key in weights if key not in expected],
        "of another shape": [
            f"{key} {tuple(weights[key].shape)} for {tuple(expected[key].shape)}"
            for key in expected
            if key in weights and weights[key].shape != expected[key].shape
        ],
    }
    if any(differences.values()):
        listed = "; ".join(
            f"{len(keys)} {kind}: {', '.join(map(str, keys[:5]))}{' …' if len(keys) > 5 else ''}"
            for kind, keys in differences.items()
            if keys
        )
        raise CheckpointError(
            f"checkpoint {path}: does not fit the model ({listed}); was it made with another model or K?"
        )
    model.load_state_dict(dict(weights))


def _check_sums(path: Path) -> None:
    """Compare the checksums that the file holds of its parts, which torch itself does not look at."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except PermissionError as error:
        raise CheckpointError(
            f"checkpoint {path}: cannot be read ({error.strerror}); give yourself the right to read it"
        ) from error
    except Exception as error:  # a damaged header can make zipfile raise nearly anything
        raise CheckpointError(
            f"checkpoint {path}: cannot be read ({type(error).__name__}); it is damaged or foreign"
        ) from error
    if damaged is not None:
        raise CheckpointError(
            f"checkpoint {path}: cannot be read (checksum of {damaged}); it is damaged: use another checkpoint of the "
            "run, and check disk and memory of the machine"
        )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"of type {type(value).__name__}"
