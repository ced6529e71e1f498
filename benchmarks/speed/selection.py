"""What every selector costs, in softmaxes of the same logits, and how much faster it is than the published formulation.

    python benchmarks/speed/selection.py --threads 2

Every public selector judges the same logits, as a teacher gives them: a coarse prediction of mixed confidence,
enlarged. One softmax of them is the unit. The published formulation of CSL (softmax, masks of all classes but the
largest, a singular value decomposition of the points of each image), `TrustedMask` and a copy of the logits are timed
in the same rounds, each method in turn; times are the shortest of all rounds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from convex_layer import published_partition
from timing import Methods, best, machine, rounds, save, surroundings, table, timing_command_line
from torch import Tensor

from residual_ssl import ConvexSelector, Selector, TrustedMask
from residual_ssl.runtime.provenance import provenance
from residual_ssl.selection import (
    ConstrainedConvexSelector,
    DistributionAlignment,
    FixedThreshold,
    LabelPropagation,
    PooledPropagation,
    RegionVote,
    ReliableRegions,
    selector_classes,
)
from residual_ssl.testing import labels_for

SHAPES = ("4x21x321x321", "2x150x321x321")
UNIT, COPY, PUBLISHED, MASK = "softmax", "copy", "published formulation", "TrustedMask"


def main() -> None:
    parser = timing_command_line(__doc__, rounds=9)
    parser.add_argument("--shapes", nargs="+", default=SHAPES, help="of the logits, images x classes x side x side")
    parser.add_argument("--only", nargs="+", help="names of selectors")
    options = parser.parse_args()
    around = surroundings()
    torch.set_num_threads(options.threads)
    cells = [cell(options, shape) for shape in options.shapes]
    shown = [name for name in ("ConvexSelector", "FixedThreshold", MASK) if name in cells[0]["ms"]]
    summary = {
        f"{name} at {cell['shape'].replace('x', '×')}": f"{cell['softmaxes'][name]:.2f} softmaxes"
        for cell in cells
        for name in shown
    }
    figures = {"device": options.device, "rounds": options.rounds, "cells": cells, "summary": summary}
    record = {**provenance(), **around, **figures}
    save(options.out, f"selection_{options.device}", record, report(record))
    print(report(record))


def cell(options: argparse.Namespace, shape: str) -> dict[str, Any]:
    logits = drawn(*(int(size) for size in shape.split("x"))).to(options.device)
    with torch.no_grad():
        times = rounds(methods(logits, options.only), options.rounds, options.device)
    ms = best(times)
    units = {name: round(value / ms[UNIT], 3) for name, value in ms.items()}
    faster = {name: round(ms[PUBLISHED] / value, 2) for name, value in ms.items()}
    result = {"shape": shape, "ms": ms, "softmaxes": units, "published / ours": faster}
    print(json.dumps(result), flush=True)
    return result


def drawn(batch: int, classes: int, *sides: int) -> Tensor:
    """Logits ``(B, K, H, W)`` of mixed confidence whose regions are larger than a point."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(batch, classes, *(-(-side // 8) for side in sides), generator=generator)
    scale = 8 * torch.rand(batch, 1, *coarse.shape[2:], generator=generator)
    return F.interpolate(coarse * scale, sides, mode="bilinear")


def methods(logits: Tensor, only: list[str] | None) -> Methods:
    copy = torch.empty_like(logits)
    images = torch.randn(len(logits), 3, *logits.shape[2:], device=logits.device)
    trusted = ConvexSelector()(logits).trusted
    every = torch.ones(len(logits), dtype=torch.bool, device=logits.device)
    mask = TrustedMask()
    others: dict[str, Callable[[], Any]] = {
        UNIT: lambda: logits.softmax(1),
        COPY: lambda: copy.copy_(logits),
        PUBLISHED: lambda: published(logits),
        MASK: lambda: mask(images, trusted, every),
    }
    judges = {name: judge(selector, logits) for name, selector in selectors(logits, only).items()}
    return {**others, **judges}


def selectors(logits: Tensor, only: list[str] | None) -> dict[str, Selector]:
    """Every selector with its own settings; those that are fitted, fitted."""
    special: dict[str, Callable[[], Selector]] = {
        "ConstrainedConvexSelector": lambda: ConstrainedConvexSelector(logits.shape[1]),
        "RegionVote": lambda: RegionVote(FixedThreshold()),
        "ReliableRegions": lambda: ReliableRegions(FixedThreshold()),
        "DistributionAlignment": lambda: DistributionAlignment(FixedThreshold()),
        "PooledPropagation": lambda: PooledPropagation(FixedThreshold(), LabelPropagation()),
    }
    names = [name for name in selector_classes() if only is None or name in only]
    made: dict[str, Any] = {name: special.get(name, selector_classes()[name])() for name in names}
    few = logits[:, :, ::8, ::8].cpu()
    for selector in made.values():
        if selector.needs.fit:
            selector.fit(few, labels_for(few))
        if selector.needs.pool:
            selector.fit_pool(few, labels_for(few), few, logits.shape[1])
    return {name: selector.to(logits.device) for name, selector in made.items()}


def judge(selector: Selector, logits: Tensor) -> Callable[[], Any]:
    selector.on_train_start(1000)
    made: dict[str, Callable[[], Tensor]] = {
        "truth": lambda: logits.argmax(1),
        "second": lambda: 0.8 * logits.roll(1, 1) + logits,
        "features": lambda: logits,
        "regions": lambda: logits.argmin(1),
        "stored": lambda: torch.stack([logits.argmax(1), torch.ones_like(logits[:, 0])], 1),
        "earlier": lambda: torch.stack([logits, logits.roll(1, 1)]),
    }
    evidence = {name: made[name]() for name in selector.evidence}
    return lambda: selector(logits, **evidence)


def published(logits: Tensor) -> list[tuple[Tensor, Tensor]]:
    """CSL as published: the features from the softmax, the partition from the singular vectors of each image's points.

    Returns weights and pseudo-labels of each image, flat.
    """
    probability = logits.softmax(1)
    confidence, label = probability.max(1)
    others = torch.ones_like(probability, dtype=torch.bool).scatter(1, label.unsqueeze(1), False)
    number = logits.shape[1] - 1
    mean = ((1 - confidence) / number).unsqueeze(1)
    dispersion = torch.where(others, (probability - mean).square(), 0.0).sum(1) / number
    chosen = []
    for c, r, y in zip(confidence.flatten(1), dispersion.flatten(1), label.flatten(1), strict=True):
        _, mean, variance = published_partition(c, r)
        z_c, z_r = ((c - mean[0]) / (variance[0] + 1e-8).sqrt(), (mean[1] - r) / (variance[1] + 1e-8).sqrt())
        weight = torch.exp(-(z_c.square() + z_r.square()) / 8)
        chosen.append((torch.where((z_c > 0) | (z_r > 0), 1.0, weight), y))
    return chosen


def report(record: dict[str, Any]) -> str:
    cells = record["cells"]
    where = machine(record)
    names = sorted(cells[0]["ms"], key=lambda name: cells[0]["softmaxes"][name])
    head = ["", *(f"{cell['shape'].replace('x', '×')}{what}" for cell in cells for what in (", ms", ", softmaxes", ""))]
    head = [title if position % 3 or not position else "published / ours" for position, title in enumerate(head)]
    rows = []
    for name in names:
        row = [name if name in (UNIT, COPY, PUBLISHED) else f"`{name}`"]
        for cell in cells:
            row += [f"{cell['ms'][name]:.2f}", f"{cell['softmaxes'][name]:.2f}"]
            row.append("" if name in (UNIT, COPY, MASK) else f"{cell['published / ours'][name]:.1f}×")
        rows.append(row)
    lines = [
        *("# What selection costs", ""),
        f"Best of {record['rounds']} rounds that take the methods in turn, {where}; float32, no gradients. The unit",
        "is one softmax of the logits; published / ours: how often the selector runs while CSL runs once as published.",
        *("", *table(head, rows), ""),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
