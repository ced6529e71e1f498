"""Networks as ONNX files, compared with torch before they are written."""

from __future__ import annotations

import importlib
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from residual_ssl.errors import InvalidInputError, MissingPackageError, ResidualSSLError
from residual_ssl.runtime.files import atomic_file

_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_AXES = ("height", "width", "depth")
_TOLERANCE = 1e-4  # of the largest logit; float32 sums in another order stay two orders of magnitude below


@dataclass(frozen=True)
class Exported:
    """A file with a network, and how well what runs it agreed with torch on it.

    Attributes:
        path: the file; its one input is ``images``, its one output ``logits``.
        shape: of the input; a name stands for an axis of any size.
        compared: shapes of the random inputs that were compared.
        difference: largest absolute difference of any logit.
        largest: largest absolute logit.
        runner: what ran the file.
    """

    path: Path
    shape: tuple[int | str, ...]
    compared: tuple[tuple[int, ...], ...]
    difference: float
    largest: float
    runner: str = "onnxruntime"

    def __str__(self) -> str:
        sizes = ", ".join("×".join(map(str, shape)) for shape in self.compared)
        return (
            f"{self.path}: images ({', '.join(map(str, self.shape))}), float32 in [0, 1], to logits\n"
            f"{self.runner} agrees with torch: logits of up to {self.largest:.3g} differ by at most "
            f"{self.difference:.1e} on random images of {sizes}"
        )


def export_onnx(
    network: nn.Module, example: Tensor, path: str | Path, metadata: Mapping[str, object] | None = None
) -> Exported:
    """Write a network as ONNX, for batches of any number and, where torch can export that, images of any size.

    The file is written only after onnxruntime has given the logits of torch, within 1e-4 of the largest, for random
    inputs: of the example's size, one and three at a time, and of another size. A network that cannot be exported for
    any size, or whose file is wrong at another one, is exported for the size of the example.

    Args:
        network: in evaluation mode, on the CPU; maps float32 ``(B, C, *S)`` to logits ``(B, K, *S)``.
        example: an input without the batch dimension, ``(C, *S)`` with up to three spatial axes, float32.
        path: file to write; its folder is made if needed.
        metadata: entries of the model's metadata; stored as JSON.

    Raises:
        MissingPackageError: onnx, onnxscript or onnxruntime are not installed.
        InvalidInputError: an example of another shape or kind.
        ResidualSSLError: a network that cannot be exported, or a file that does not agree with torch; nothing is
            written then.
    """
    _require_packages()
    check_example(example)
    axes = spatial_axes(example)
    try:
        return _exported(network, example, Path(path), metadata or {}, axes)
    except ResidualSSLError:
        if not axes:
            raise
    return _exported(network, example, Path(path), metadata or {}, ())


@torch.no_grad()
def _exported(
    network: nn.Module, example: Tensor, path: Path, metadata: Mapping[str, object], axes: Sequence[str]
) -> Exported:
    inputs, expected = tried(network, example, axes, "onnx")
    model = _traced(network, example, axes)
    for key, value in metadata.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, json.dumps(value)
    found = _run(model.SerializeToString(), inputs)
    difference, largest = checked_agreement(found, expected, "onnx", "onnxruntime")
    with atomic_file(path, "onnx") as file:
        file.write(model.SerializeToString())
    shape = tuple(d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim)
    return Exported(path, shape, tuple(tuple(x.shape) for x in inputs), difference, largest)


def check_example(example: Tensor) -> None:
    """Refuse an example that is no float32 ``(C, *S)`` of at most three spatial axes."""
    if not 1 <= example.dim() <= 1 + len(_AXES) or example.dtype != torch.float32:
        raise InvalidInputError(
            f"example: got {example.dtype} of shape {tuple(example.shape)}, expected float32 (C, *S), without a batch"
        )


def spatial_axes(example: Tensor) -> tuple[str, ...]:
    """Names of the spatial axes of an example ``(C, *S)``."""
    return _AXES[: example.dim() - 1]


def tried(network: nn.Module, example: Tensor, axes: Sequence[str], kind: str) -> tuple[list[Tensor], list[Tensor]]:
    """Random inputs to compare on, and the network's logits: one and three of the example's size, and another size."""
    sizes = [(1, *example.shape), (3, *example.shape)]
    if axes:
        sizes.append((2, example.shape[0], *(side + 11 + 6 * i for i, side in enumerate(example.shape[1:]))))
    inputs = [torch.rand(size, generator=torch.Generator().manual_seed(0)) for size in sizes]
    try:
        # Before tracing: what a network computes once and keeps must not be the tracer's.
        return inputs, [network(x) for x in inputs]
    except Exception as error:
        raise ResidualSSLError(
            f"{kind}: {type(network).__name__} fails on inputs of {' or '.join(map(str, sizes))} ({first_line(error)})"
        ) from error


def checked_agreement(
    found: Sequence[Tensor], expected: Sequence[Tensor], kind: str, runner: str
) -> tuple[float, float]:
    """The largest difference of logits, and the largest logit.

    Raises:
        ResidualSSLError: a difference of more than 1e-4 of the largest logit.
    """
    largest = max(logits.abs().max().item() for logits in expected)
    difference = max((a - b).abs().max().item() for a, b in zip(found, expected, strict=True))
    # Written so that NaN on either side is a disagreement.
    if not difference <= _TOLERANCE * largest:
        raise ResidualSSLError(
            f"{kind}: {runner} and torch disagree, logits of up to {largest:.3g} differ by {difference:.3g}, expected "
            f"at most {_TOLERANCE * largest:.1e}; nothing was written. Try another version of {runner}"
        )
    return difference, largest


def _traced(network: nn.Module, example: Tensor, axes: Sequence[str]) -> Any:
    """The network as an ``onnx.ModelProto`` with axes of these names, and the batch, of any size."""
    free_axes = {0: "batch", **dict(enumerate(axes, start=2))}
    dynamic = dict.fromkeys(free_axes, torch.export.Dim.DYNAMIC)  # type: ignore[attr-defined]
    # A batch of one would be taken for a constant.
    arguments = (torch.stack([example, example]),)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program: Any = torch.onnx.export(
                network,
                arguments,
                input_names=["images"],
                output_names=["logits"],
                dynamic_shapes=(dynamic,),
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # the exporter lets anything through that tracing or translation meets
        raise ResidualSSLError(
            f"onnx: {type(network).__name__} cannot be exported ({first_line(error)}); nothing was written"
        ) from error
    model = program.model_proto
    _rename_axes(model.graph, free_axes)
    # The exporter's notes quote the source line of every node, with the paths of this machine.
    del model.graph.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
    return model


def _rename_axes(graph: Any, names: Mapping[int, str]) -> None:
    """Give the symbols of the exporter, which are numbered, the names of the axes wherever shapes are noted."""
    symbols = [dimension.dim_param for dimension in graph.input[0].type.tensor_type.shape.dim]
    known = {symbols[axis]: name for axis, name in names.items() if symbols[axis]}
    if not known:
        return
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, known))})\b")
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param:
                dimension.dim_param = pattern.sub(lambda match: known[match.group()], dimension.dim_param)


def _run(model: bytes, inputs: Sequence[Tensor]) -> list[Tensor]:
    onnxruntime = importlib.import_module("onnxruntime")
    try:
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        return [torch.from_numpy(session.run(["logits"], {"images": x.numpy()})[0]) for x in inputs]
    except Exception as error:  # its exceptions have no common class
        raise ResidualSSLError(
            f"onnx: onnxruntime cannot run the exported network ({first_line(error)}); nothing was written"
        ) from error


def _require_packages() -> None:
    missing = []
    for name in _PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError:
            missing.append(name)
    if missing:
        raise MissingPackageError(
            f"onnx: {', '.join(missing)} cannot be imported; install the extra: pip install 'residual-ssl[onnx]'"
        )


def first_line(error: Exception) -> str:
    """The first line of what an error says."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
