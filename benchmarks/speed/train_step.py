"""What a training step costs: CSL's and UniMatch's here, and UniMatch's as a plain eager loop takes it.

    python benchmarks/speed/train_step.py --threads 2
    python benchmarks/speed/train_step.py --device cuda --model deeplabv3plus_r101 --crops 321 --batch 8

All steps train the same network on the same images, at the same crop, batch and precision, each method in turn within a
round. The eager step is that of a common UniMatch trainer: float32, a pass without gradients for the images that
CutMix pastes, one for labelled and weak images with dropped features, one for two strong views, a threshold of .95, and
the losses read by the host. Its strong views are made beforehand, as loading processes would; the steps of the library
make theirs. Loading is no part of either.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from timing import best, machine, rounds, save, surroundings, table, timing_command_line
from torch import Tensor, nn

from residual_ssl import compose
from residual_ssl.config.settings import Settings
from residual_ssl.engine.setup.prepared import PreparedRun, prepare
from residual_ssl.perturbations import Photometric
from residual_ssl.runtime.provenance import provenance
from residual_ssl.task import Batch

EAGER, ALGORITHMS = "eager UniMatch", ("unimatch", "csl")


def main() -> None:
    parser = timing_command_line(__doc__, rounds=5)
    parser.add_argument("--model", default="deeplabv3plus_mobilenetv2")
    parser.add_argument("--crops", type=int, nargs="+", default=[161, 321])
    parser.add_argument("--batch", type=int, default=2, help="labelled images, and unlabelled ones, of a step")
    parser.add_argument("--precisions", nargs="+", default=["no"], help="of the library's steps: no, bf16")
    options = parser.parse_args()
    around = surroundings()
    torch.set_num_threads(options.threads)
    cells = [cell(options, crop) for crop in options.crops]
    figures = {name: getattr(options, name) for name in ("device", "rounds", "model", "batch")}
    summary = {
        f"{name} at {cell['crop']}, against {EAGER}": f"{faster:.2f}× as fast"
        for cell in cells
        for name, faster in cell["eager / ours"].items()
        if name != EAGER
    }
    record = {**provenance(), **around, **figures, "cells": cells, "summary": summary}
    save(options.out, f"train_step_{options.device}", record, report(record))
    print(report(record))


def cell(options: argparse.Namespace, crop: int) -> dict[str, Any]:
    methods: dict[str, Callable[[], Any]] = {}
    for precision, algorithm in itertools.product(options.precisions, ALGORITHMS):
        run = prepared(options, algorithm, precision)
        batches = drawn(run, crop, options.batch)
        if EAGER not in methods:
            methods[EAGER] = eager(run, *batches)
        methods[f"{algorithm}, {precision}"] = library(run, *batches)
    ms = best(rounds(methods, options.rounds, options.device))
    faster = {name: round(ms[EAGER] / value, 2) for name, value in ms.items()}
    result = {"crop": crop, "ms": ms, "eager / ours": faster}
    print(json.dumps(result), flush=True)
    return result


def prepared(options: argparse.Namespace, algorithm: str, precision: str) -> PreparedRun:
    """A run on the embedded scenes, which gives task, algorithm, network and optimiser; its data are not used."""
    weights = [] if options.model.startswith("small") else ["model.weights=null"]
    short = ["steps=1000", "warmup_steps=0", "dataset.source.labelled=2", "dataset.source.unlabelled=2"]
    place = [f"run_dir={Path(tempfile.mkdtemp()) / 'run'}", f"device={options.device}", f"precision={precision}"]
    batches = [f"labelled_batch={options.batch}", f"unlabelled_batch={options.batch}", "dataset.source.validation=2"]
    chosen = ["experiment=digits", f"algorithm={algorithm}", f"model={options.model}"]
    run = prepare(Settings.from_config(compose([*chosen, *weights, *short, *place, *batches])))
    run.model.train()
    return run


def drawn(run: PreparedRun, crop: int, batch: int) -> tuple[Batch, Batch]:
    """A labelled and an unlabelled batch of random images with regions."""
    generator = torch.Generator().manual_seed(0)
    device = run.accelerator.device
    coarse = torch.rand(2 * batch, 3, 16, 16, generator=generator)
    images = F.interpolate(coarse, (crop, crop), mode="bilinear").to(device)
    regions = torch.randint(run.task.num_classes, (batch, 1, 16, 16), generator=generator).float()
    target = F.interpolate(regions, (crop, crop)).squeeze(1).long().to(device)
    return {"input": images[:batch], "target": target}, {"input": images[batch:]}


def library(run: PreparedRun, labelled: Batch, unlabelled: Batch) -> Callable[[], Any]:
    """A step of the engine."""
    numbers: Iterator[int] = itertools.count()
    return lambda: run.take_step(next(numbers), itertools.repeat(labelled), itertools.repeat(unlabelled))


def eager(run: PreparedRun, labelled: Batch, unlabelled: Batch) -> Callable[[], Any]:
    """A UniMatch step in plain PyTorch, on a copy of the network."""
    model: Any = copy.deepcopy(run.student)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    x, y = run.task.view(labelled["input"], "labelled"), labelled["target"]
    weak = run.task.view(unlabelled["input"], "plain")
    strong = [run.task.view(Photometric()(unlabelled["input"]), "plain") for _ in range(2)]
    box = torch.zeros_like(weak[:, :1], dtype=torch.bool)
    box[..., : weak.shape[2] // 2, : weak.shape[3] // 2] = True
    return lambda: unimatch_step(model, optimizer, x, y, weak, strong, box)


def unimatch_step(
    model: Any, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, weak: Tensor, strong: list[Tensor], box: Tensor
) -> list[float]:
    other = weak.flip(0)
    with torch.no_grad():
        model.eval()
        mixed_confidence, mixed_label = model(other).softmax(1).max(1)
        model.train()
    views = [torch.where(box, view.flip(0), view) for view in strong]
    features = model.encode(torch.cat([x, weak]))
    dropped = [torch.cat([feature, nn.Dropout2d(0.5)(feature)]) for feature in features]
    logits, perturbed = model.decode(dropped, x.shape[-2:]).chunk(2)
    of_x, of_weak = logits.split([len(x), len(weak)])
    of_strong = model(torch.cat(views)).chunk(2)
    confidence, label = of_weak.detach().softmax(1).max(1)
    pasted = box.squeeze(1)
    mixed = torch.where(pasted, mixed_confidence, confidence), torch.where(pasted, mixed_label, label)
    losses = [F.cross_entropy(of_x, y, ignore_index=255)]
    taught = [(of_strong[0], *mixed), (of_strong[1], *mixed), (perturbed[len(x) :], confidence, label)]
    for prediction, sure, target in taught:
        loss = F.cross_entropy(prediction, target, reduction="none")
        losses.append((loss * (sure >= 0.95)).sum() / sure.numel())
    total = (losses[0] + 0.25 * losses[1] + 0.25 * losses[2] + 0.5 * losses[3]) / 2
    optimizer.zero_grad()
    total.backward()
    optimizer.step()
    return [loss.item() for loss in losses]


def report(record: dict[str, Any]) -> str:
    where = machine(record)
    rows = []
    for cell in record["cells"]:
        for name, ms in cell["ms"].items():
            faster = "" if name == EAGER else f"{cell['eager / ours'][name]:.2f}×"
            rows.append([str(cell["crop"]), name, f"{ms:.0f}", faster])
    lines = [
        *("# What a training step costs", ""),
        f"`{record['model']}`, {record['batch']} labelled and {record['batch']} unlabelled images; best of",
        f"{record['rounds']} rounds that take the methods in turn, {where}.",
        *("", *table(["crop", "step", "ms", "eager / ours"], rows), ""),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
