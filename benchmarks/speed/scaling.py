"""How the cost of selection grows with points, classes and images, over two decades of each.

    python benchmarks/speed/scaling.py --threads 2

Sizes take turns within a round; times are the shortest of all rounds. The exponent is the slope of the straight line
that fits the logarithms of time and size best: 1 is proportional, less than 1 where a fixed cost counts.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from typing import Any

import torch
from selection import drawn
from timing import best, machine, rounds, save, surroundings, table, timing_command_line

from residual_ssl import ConvexSelector, FixedThreshold, Selector
from residual_ssl.runtime.provenance import provenance

SELECTORS: dict[str, type[Selector]] = {"ConvexSelector": ConvexSelector, "FixedThreshold": FixedThreshold}
#: Images, classes, height, width for each size: about half a decade from one to the next.
SIZES: dict[str, dict[int, tuple[int, int, int, int]]] = {
    "points": {side**2: (1, 21, side, side) for side in (100, 178, 316, 562, 1000)},
    "classes": {classes: (1, classes, 128, 128) for classes in (10, 32, 100, 316, 1000)},
    "images": {images: (images, 21, 96, 96) for images in (1, 3, 10, 32, 100)},
}


def main() -> None:
    parser = timing_command_line(__doc__, rounds=7)
    parser.add_argument("--sizes", type=int, default=5, help="the first so many sizes of each kind")
    options = parser.parse_args()
    around = surroundings()
    torch.set_num_threads(options.threads)
    cells = [cell(options, kind, name) for kind in SIZES for name in SELECTORS]
    summary = {f"exponent of {cell['selector']} in {cell['kind']}": f"{cell['exponent']:.2f}" for cell in cells}
    record = {
        **provenance(),
        **around,
        "device": options.device,
        "rounds": options.rounds,
        "cells": cells,
        "summary": summary,
    }
    save(options.out, f"scaling_{options.device}", record, report(record))
    print(report(record))


def cell(options: argparse.Namespace, kind: str, name: str) -> dict[str, Any]:
    selector = SELECTORS[name]().to(options.device)
    shapes = dict(list(SIZES[kind].items())[: options.sizes])
    inputs = {size: drawn(*shape).to(options.device) for size, shape in shapes.items()}
    methods = {str(size): lambda logits=logits: selector(logits) for size, logits in inputs.items()}
    with torch.no_grad():
        ms = best(rounds(methods, options.rounds, options.device))
    result = {"kind": kind, "selector": name, "ms": ms, "exponent": round(exponent(list(shapes), list(ms.values())), 3)}
    print(json.dumps(result), flush=True)
    return result


def exponent(sizes: Sequence[float], times: Sequence[float]) -> float:
    """Slope of log time over log size by least squares."""
    x, y = [math.log(size) for size in sizes], [math.log(time) for time in times]
    center_x, center_y = sum(x) / len(x), sum(y) / len(y)
    spread = sum((a - center_x) ** 2 for a in x)
    return sum((a - center_x) * (b - center_y) for a, b in zip(x, y, strict=True)) / spread


def report(record: dict[str, Any]) -> str:
    rows = []
    for cell in record["cells"]:
        times = ", ".join(f"{int(size):,}: {ms:.1f}" for size, ms in cell["ms"].items())
        rows.append([f"`{cell['selector']}`", cell["kind"], times, f"{cell['exponent']:.2f}"])
    where = machine(record)
    lines = [
        *("# How the cost of selection grows", ""),
        f"Best of {record['rounds']} rounds that take the sizes in turn, {where};",
        "21 classes, but for the rows of classes.",
        *("", *table(["", "number of", "milliseconds", "exponent"], rows), ""),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
