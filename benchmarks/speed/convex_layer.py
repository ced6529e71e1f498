"""What the convex program costs: closed form, cvxpylayers, and the published singular vectors of all points.

    python benchmarks/speed/convex_layer.py --threads 2

From given features (confidence, dispersion) of B images, three things are timed, each method in turn within a round, so
that a busy machine slows all of them alike; times are medians over the rounds, ratios medians of the rounds' ratios.

- Gram pass: the d×d Gram matrix of each image, the only part of the program that sees the points.
- spectral step, forward and backward: features to P. Gram pass and program, or the SVD of the N×2 matrix of each image.
- partition: features to clusters, moments and the reliable side, as the published rule needs them (no gradients).

The program alone is also timed at every number of points, the sizes in turn.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from timing import command_line, save, table
from torch import Tensor

from residual_ssl.runtime.provenance import provenance
from residual_ssl.selection import convex_partition, solve_partition
from residual_ssl.selection.convex.separation import _gram, _groups_together, _products

SIDES = (64, 321, 801)
BATCHES = (1, 4, 16)
SOLVERS = {"closed form": "closed_form", "cvxpylayers": "cvxpylayers"}
Cell = dict[str, Callable[[], Any]]


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES)
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cells = []
    for side in options.sides:
        for batch in options.batches:
            features = draw(batch, side * side)
            cells.append({"points": side, "batch": batch, **summary(rounds(methods(features), options.rounds))})
            print(json.dumps(cells[-1]), flush=True)
    alone = [{"batch": batch, **program_alone(options, batch)} for batch in options.batches]
    record = {**provenance(), "rounds": options.rounds, "cells": cells, "program": alone}
    save(options.out, "convex_layer", record, report(record))
    print(report(record))


def draw(batch: int, points: int) -> tuple[Tensor, Tensor]:
    """Confidence and dispersion of a prediction that is sure of most points."""
    generator = torch.Generator().manual_seed(0)
    confidence = 1 - 0.5 * torch.rand(batch, points, generator=generator) ** 2
    return confidence, (1 - confidence) ** 2 * torch.rand(batch, points, generator=generator) / 20


def methods(features: tuple[Tensor, Tensor]) -> Cell:
    valid = torch.ones_like(features[0], dtype=torch.bool)
    tracked = tuple(feature.clone().requires_grad_() for feature in features)
    direction = torch.tensor([[1.0, -2.0], [-2.0, 0.5]])
    cell: Cell = {"gram": lambda: gram(features)}
    steps: dict[str, Callable[[tuple[Tensor, ...]], Tensor]] = {
        name: lambda x, solver=solver: solve_partition(gram(x), solver=solver).float()  # type: ignore[misc]
        for name, solver in SOLVERS.items()
    }
    steps["SVD"] = singular_projector
    for name, step in steps.items():
        cell[f"spectral {name}"] = lambda step=step: step(features)
        cell[f"spectral+backward {name}"] = lambda step=step: torch.autograd.grad(
            (step(tracked) * direction).sum(), tracked
        )
    for name, solver in SOLVERS.items():
        cell[f"partition {name}"] = lambda solver=solver: convex_partition(features, valid, solver=solver)
    cell["partition SVD"] = lambda: [published_partition(c, r) for c, r in zip(*features, strict=True)]
    return cell


def gram(features: tuple[Tensor, ...]) -> Tensor:
    """The Gram pass as the library makes it."""
    together = _groups_together(features[0])
    parts = zip(*(torch.split(feature, together) for feature in features), strict=True)
    return torch.cat([_gram(_products(list(part)), len(features)) for part in parts]) / features[0].shape[-1]


def singular_projector(features: tuple[Tensor, ...]) -> Tensor:
    """P of each image by the SVD of its N×2 matrix."""
    projectors = []
    for image in zip(*features, strict=True):
        _, _, rows = torch.linalg.svd(torch.stack(image, 1), full_matrices=False)
        projectors.append(rows[0, :, None] * rows[0])
    return torch.stack(projectors)


def published_partition(confidence: Tensor, dispersion: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One image: each point to the singular vector on which it is largest; moments of the cluster of larger mean."""
    points = torch.stack([confidence, dispersion], 1)
    embedding, _, _ = torch.linalg.svd(points, full_matrices=False)
    cluster = embedding.abs().argmax(1)
    members = [points[cluster == side] for side in (0, 1)]
    reliable = int(members[1].shape[0] > 0 and bool(members[1][:, 0].mean() > members[0][:, 0].mean()))
    return cluster, members[reliable].mean(0), members[reliable].var(0)


def rounds(cell: Cell, count: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in cell}
    for number in range(count + 1):
        for name, run in cell.items():
            start = time.perf_counter()
            run()
            if number > 0:  # the first round warms up
                times[name].append(1e3 * (time.perf_counter() - start))
    return times


def summary(times: dict[str, list[float]]) -> dict[str, Any]:
    result: dict[str, Any] = {"ms": {name: round(statistics.median(values), 3) for name, values in times.items()}}
    result["SVD / closed form"] = {
        kind: ratio(times[f"{kind} SVD"], times[f"{kind} closed form"])
        for kind in ("spectral", "spectral+backward", "partition")
    }
    return result


def ratio(first: list[float], second: list[float]) -> float:
    return round(statistics.median(a / b for a, b in zip(first, second, strict=True)), 2)


def program_alone(options: argparse.Namespace, batch: int) -> dict[str, Any]:
    """The program by cvxpylayers, forward and backward, on the Gram matrices of each number of points, in turn."""
    cell: Cell = {}
    for side in options.sides:
        matrix = gram(draw(batch, side * side)).detach().requires_grad_()
        cell[str(side)] = lambda matrix=matrix: torch.autograd.grad(
            solve_partition(matrix, solver="cvxpylayers")[..., 0, 1].sum(), matrix
        )
    times = rounds(cell, 3 * options.rounds)
    smallest, largest = str(min(options.sides)), str(max(options.sides))
    medians = {side: round(statistics.median(values), 3) for side, values in times.items()}
    return {"ms": medians, f"{largest}² / {smallest}²": ratio(times[largest], times[smallest])}


def report(record: dict[str, Any]) -> str:
    machine = f"{record['hardware']['torch_threads']} threads of {record['hardware']['device']}"
    names = ("closed form", "cvxpylayers", "SVD")
    kinds = {"spectral": "features→P ", "spectral+backward": "with backward ", "partition": "partition "}
    head = ["points", "batch", "Gram pass"]
    for words in kinds.values():
        head += [*(words + name for name in names), "ratio"]
    rows = []
    for cell in record["cells"]:
        row = [f"{cell['points']}²", str(cell["batch"]), f"{cell['ms']['gram']:.2f}"]
        for kind in kinds:
            row += [f"{cell['ms'][f'{kind} {name}']:.1f}" for name in names]
            row.append(f"{cell['SVD / closed form'][kind]:.1f}×")
        rows.append(row)
    sides = list(record["program"][0]["ms"])
    ratios = next(name for name in record["program"][0] if name not in ("batch", "ms"))
    alone = [
        [str(row["batch"]), *(f"{row['ms'][side]:.1f}" for side in sides), f"{row[ratios]:.2f}×"]
        for row in record["program"]
    ]
    lines = [
        *("# The convex program", ""),
        f"Milliseconds, median of {record['rounds']} rounds, {machine};"
        " the rounds take the methods in turn. Partition: hard, without gradients. Ratio: SVD / closed form.",
        *("", *table(head, rows), ""),
        *("The program alone by cvxpylayers, forward and backward, by the points behind the Gram matrix:", ""),
        *table(["batch", *(f"{side}²" for side in sides), ratios], alone),
    ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
