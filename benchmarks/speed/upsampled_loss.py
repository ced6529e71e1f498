"""The loss of enlarged logits by blocks against the composition of enlargement and loss: time and memory.

    python benchmarks/speed/upsampled_loss.py --threads 2

Value and gradient of `upsampled_selected_cross_entropy` from coarse logits, and of the two steps that it stands for, in
turn; times are the shortest of all rounds. Memory is the most that tensors hold at a time beyond what they held before.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from selection import drawn
from timing import best, machine, rounds, save, surroundings, table, timing_command_line
from torch import Tensor

from residual_ssl import ConvexSelector
from residual_ssl.losses import selected_cross_entropy, upsampled_selected_cross_entropy
from residual_ssl.runtime.peak_memory import peak_bytes
from residual_ssl.runtime.provenance import provenance

SHAPES = ("2x21x81x81 321x321", "2x19x201x201 801x801")
COMPOSED, BY_BLOCKS = "composition", "by blocks"


def main() -> None:
    parser = timing_command_line(__doc__, rounds=5)
    parser.add_argument("--shapes", nargs="+", default=SHAPES, help="of the coarse logits and the enlarged size")
    options = parser.parse_args()
    around = surroundings()
    torch.set_num_threads(options.threads)
    cells = [cell(options, shape) for shape in options.shapes]
    summary = {}
    for made in cells:
        own, whole = ({kind: made[kind][name] for kind in ("ms", "mib")} for name in (BY_BLOCKS, COMPOSED))
        figures = f"{own['ms'] / whole['ms']:.2f} of the time, {own['mib'] / whole['mib']:.2f} of the memory"
        summary[f"loss from {made['shape']}"] = figures
    figures = {"device": options.device, "rounds": options.rounds, "cells": cells, "summary": summary}
    record = {**provenance(), **around, **figures}
    save(options.out, f"upsampled_loss_{options.device}", record, report(record))
    print(report(record))


def cell(options: argparse.Namespace, shape: str) -> dict[str, Any]:
    coarse_shape, size = ([int(side) for side in part.split("x")] for part in shape.split())
    coarse = drawn(*coarse_shape).to(options.device)
    with torch.no_grad():
        chosen = ConvexSelector()(enlarged(coarse, size))
    student = (coarse + torch.randn_like(coarse)).requires_grad_()
    methods: dict[str, Callable[[], Any]] = {
        COMPOSED: lambda: torch.autograd.grad(selected_cross_entropy(enlarged(student, size), chosen), student),
        BY_BLOCKS: lambda: torch.autograd.grad(
            upsampled_selected_cross_entropy(student, (size[0], size[1]), chosen), student
        ),
    }
    device = torch.device(options.device)
    mib = {name: round(peak_bytes(run, device) / 2**20, 3) for name, run in methods.items()}
    result = {"shape": shape, "ms": best(rounds(methods, options.rounds, options.device)), "mib": mib}
    print(json.dumps(result), flush=True)
    return result


def enlarged(coarse: Tensor, size: list[int]) -> Tensor:
    return F.interpolate(coarse, size, mode="bilinear", align_corners=True)


def report(record: dict[str, Any]) -> str:
    rows = []
    for cell in record["cells"]:
        for name, ms in cell["ms"].items():
            mib = cell["mib"][name]
            shares = [f"{ms / cell['ms'][COMPOSED]:.2f}", f"{mib / cell['mib'][COMPOSED]:.2f}"]
            rows.append([cell["shape"].replace("x", "×").replace(" ", " → "), name, f"{ms:.0f}", f"{mib:.0f}", *shares])
    where = machine(record)
    lines = [
        *("# The loss of enlarged logits", ""),
        f"Best of {record['rounds']} rounds that take the methods in turn, {where}.",
        *("", *table(["logits", "", "ms", "MiB", "of the time", "of the memory"], rows), ""),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
