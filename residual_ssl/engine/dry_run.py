"""One step and one evaluation sample of a run, to see that it fits: shapes, memory, time; nothing is written."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import default_collate

from residual_ssl.config.sizes import bytes_of
from residual_ssl.engine.batch_memory import batch_memory
from residual_ssl.engine.evaluation import further_entries
from residual_ssl.engine.records.result import RunResult
from residual_ssl.engine.setup.devices import gpu_memory_gib, resident_memory_gib
from residual_ssl.engine.setup.loading import to_device
from residual_ssl.engine.setup.prepared import PreparedRun
from residual_ssl.engine.setup.unreadable import SkippedSamples
from residual_ssl.task import Batch, Task

_LOOKED_AT = 100


def dry_run(run: PreparedRun, step: int) -> RunResult:
    """Take one step, predict the largest sample of the validation set, and print what came, went and was used.

    Args:
        run: everything built.
        step: number of the step to take.

    Returns:
        A result without metrics.
    """
    run.show_effective(step)
    device = run.accelerator.device
    labelled, unlabelled = run.batches(step, SkippedSamples())
    first_labelled, labelled = _peeked(labelled)
    first_unlabelled = None
    lines = {"labelled batch": _shapes(first_labelled)}
    if unlabelled is not None:
        first_unlabelled, unlabelled = _peeked(unlabelled)
        lines["unlabelled batch"] = _shapes(first_unlabelled)
    run.model.train()
    started = time.perf_counter()
    metrics = {name.removeprefix("train/"): v.item() for name, v in run.take_step(step, labelled, unlabelled).items()}
    seconds = time.perf_counter() - started  # the metrics have waited for the device

    network = run.algorithm.evaluated(run.student).eval()
    validation = run.task.validation()
    shown = {"evaluation sample": "none, there is no validation set"}
    if len(validation):  # type: ignore[arg-type]
        sample = to_device(default_collate([validation[_largest(run.task)]]), device)
        with torch.no_grad():
            logits = run.task.predict(network, sample["input"])
            run.task.metric().to(device).update(logits, sample["target"], **further_entries(sample))
        shown = {"largest evaluation sample": _shapes(sample), "predicted": _shapes({"logits": logits})}
    gpu = gpu_memory_gib(device)
    memory = f"{resident_memory_gib():.2f} GiB resident" if gpu is None else f"{gpu:.2f} GiB of the GPU for tensors"
    if run.settings.memory is not None:
        budget = bytes_of(run.settings.memory)
        found = batch_memory(run, step, first_labelled, first_unlabelled, budget)
        shown |= dict(zip(("a step takes", "budget"), found, strict=True))
    lines |= {
        **shown,
        "first step": f"{seconds:.2f} s, with what is set up once",
        "metrics": ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()),
        "memory": f"{memory} at most, of one process",
    }
    run.show("\n".join(f"{name:>26}  {value}" for name, value in lines.items()) + "\ndry run: nothing was written")
    return RunResult(Path(run.settings.run_dir), {}, {}, {}, seconds, gpu)


def _peeked(batches: Iterator[Batch]) -> tuple[Batch, Iterator[Batch]]:
    first = next(batches)
    return first, itertools.chain([first], batches)


def _largest(task: Task) -> int:
    """Index of the validation sample with the most points, of a hundred evenly spaced ones."""
    count, target = task.targets("validation")
    return max(range(0, count, -(-count // _LOOKED_AT)), key=lambda index: target(index).numel())


def _shapes(batch: Batch) -> str:
    return ", ".join(
        f"{name} {tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
        for name, value in batch.items()
        if isinstance(value, Tensor)
    )
