"""Networks as programs of ``torch.export`` (.pt2), compared with the network before they are written."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from residual_ssl.commands.export.onnx_file import (
    Exported,
    check_example,
    checked_agreement,
    first_line,
    spatial_axes,
    tried,
)
from residual_ssl.errors import ResidualSSLError
from residual_ssl.runtime.files import atomic_file

#: Name of the entry with the metadata, for ``torch.export.load(path, extra_files={METADATA: ""})``.
METADATA = "metadata.json"


def export_pt2(
    network: nn.Module, example: Tensor, path: str | Path, metadata: Mapping[str, object] | None = None
) -> Exported:
    """Write a network as a program of ``torch.export``, for batches of any number and images of any size where it can.

    ``torch.export.load(path).module()`` runs it without this library. What the file gives is compared with the network
    as :func:`residual_ssl.commands.export.export_onnx` does before it is kept. A program holds no class of this
    library; still, as of any file that torch loads, take it from people you trust alone.

    Args:
        network, example, metadata: as of :func:`residual_ssl.commands.export.export_onnx`.
        path: file to write; its folder is made if needed.

    Raises:
        InvalidInputError: an example of another shape or kind.
        ResidualSSLError: a network that cannot be exported, or a file that does not agree with it; nothing is written.
    """
    check_example(example)
    axes = spatial_axes(example)
    # By bytecode and by tracing alone: each takes networks that the other does not.
    attempts = [(some, strict) for some in dict.fromkeys((axes, ())) for strict in (True, False)]
    for some, strict in attempts:
        try:
            return _exported(network, example, Path(path), metadata or {}, some, strict=strict)
        except ResidualSSLError as error:
            last = error
    raise last


@torch.no_grad()
def _exported(
    network: nn.Module,
    example: Tensor,
    path: Path,
    metadata: Mapping[str, object],
    axes: Sequence[str],
    *,
    strict: bool,
) -> Exported:
    inputs, expected = tried(network, example, axes, "pt2")
    free = {0: "batch", **dict(enumerate(axes, start=2))}
    dynamic = dict.fromkeys(free, torch.export.Dim.DYNAMIC)  # type: ignore[attr-defined]
    content = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # A batch of one would be taken for a constant.
            inputs_of_two = (torch.stack([example, example]),)
            program = torch.export.export(network, inputs_of_two, dynamic_shapes=(dynamic,), strict=strict)
            for node in program.graph.nodes:
                node.meta.pop("stack_trace", None)  # which quotes source lines, with the paths of this machine
            torch.export.save(program, content, extra_files={METADATA: json.dumps(dict(metadata))})
            content.seek(0)
            again = torch.export.load(content).module()
        found = [again(x) for x in inputs]
    except Exception as error:  # the exporter lets anything through that tracing meets
        raise ResidualSSLError(
            f"pt2: {type(network).__name__} cannot be exported ({first_line(error)}); nothing was written"
        ) from error
    difference, largest = checked_agreement(found, expected, "pt2", "torch.export")
    with atomic_file(path, "pt2") as file:
        file.write(content.getvalue())
    sides: list[int | str] = list(example.shape[1:])
    shape = ("batch", len(example), *(axes or sides))
    return Exported(path, shape, tuple(tuple(x.shape) for x in inputs), difference, largest, "torch.export")
