"""A trained model as people exchange it: a folder of safetensors and JSON, which holds nothing that could run."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from residual_ssl.errors import CheckpointError
from residual_ssl.runtime import checkpoint
from residual_ssl.runtime.files import atomic_file, write_json, write_text
from residual_ssl.runtime.provenance import portable

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
_SELECTOR = "selector."
_NETWORK = "model."
_WHOLE_NUMBER = re.compile(r"-?\d+$")


def write_shared(
    folder: Path, model: nn.Module, selector: nn.Module | None, description: Mapping[str, Any], card: str
) -> None:
    """Write the folder of a model: weights and the selector's memory, configuration, model card.

    Args:
        folder: made where it is not there; other files in it stay.
        model: the network to predict with.
        selector: of the run, or None.
        description: ``config``, ``class_names``, ``step`` and what else is to be told, as plain values. Of absolute
            paths in it the last part is kept.
        card: text of the model card.

    Raises:
        CheckpointError: the folder cannot be written to.
    """
    tensors = {f"{_NETWORK}{name}": _apart(value) for name, value in model.state_dict().items()}
    if selector is not None:
        tensors |= {f"{_SELECTOR}{name}": _apart(value) for name, value in selector.state_dict().items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be made, {error.strerror}; give another folder") from error
    with atomic_file(folder / WEIGHTS, "model", CheckpointError) as file:
        file.write(save(tensors, {"format": "pt", "library": "residual_ssl"}))
    write_json(folder / CONFIG, {**_portable(description), "format": checkpoint.FORMAT})
    write_text(folder / CARD, card)


def is_shared(folder: Path) -> bool:
    """Whether a folder is one that :func:`write_shared` wrote, and no run directory."""
    return (folder / WEIGHTS).is_file() and (folder / CONFIG).is_file()


def read_shared(folder: Path) -> dict[str, Any]:
    """The entries of a checkpoint from such a folder: ``model``, ``selector``, ``config``, ``class_names``, ``step``.

    Raises:
        CheckpointError: files that are damaged, or of something else.
    """
    try:
        description = _with_numbers(json.loads((folder / CONFIG).read_text(encoding="utf-8")))
        tensors = load_file(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"{folder}: cannot be read ({type(error).__name__}); it is damaged or foreign") from error
    if not isinstance(description, dict):
        raise CheckpointError(f"{folder / CONFIG}: expected a mapping, as residual-ssl share writes it")
    of_network = {n.removeprefix(_NETWORK): v for n, v in tensors.items() if n.startswith(_NETWORK)}
    of_selector = {n.removeprefix(_SELECTOR): v for n, v in tensors.items() if n.startswith(_SELECTOR)}
    content = {**description, "model": of_network, "selector": of_selector}
    checkpoint.require_evaluable(content, folder)
    return content


def _apart(tensor: Tensor) -> Tensor:
    """The tensor in memory of its own, as safetensors takes no two that share some."""
    return tensor.detach().cpu().clone().contiguous()


def _portable(value: Any) -> Any:
    """Plain values with the last part of absolute paths alone: nobody else has these folders."""
    if isinstance(value, Mapping):
        return {str(key): _portable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_portable(entry) for entry in value]
    return portable(value) if isinstance(value, str) else value


def _with_numbers(value: Any) -> Any:
    """JSON with the whole numbers that its keys were: ids in maps of labels."""
    if isinstance(value, dict):
        return {int(k) if _WHOLE_NUMBER.match(k) else k: _with_numbers(entry) for k, entry in value.items()}
    return [_with_numbers(entry) for entry in value] if isinstance(value, list) else value
