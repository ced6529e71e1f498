"""How much memory a step takes as its batches grow, and the largest that fit into a budget."""

from __future__ import annotations

import gc
import itertools
from math import gcd

import torch

from residual_ssl.engine.setup.prepared import PreparedRun
from residual_ssl.runtime.peak_memory import peak_bytes
from residual_ssl.task import Batch


def batch_memory(run: PreparedRun, step: int, labelled: Batch, unlabelled: Batch | None, budget: float) -> list[str]:
    """Lines that say what a step takes, and which batches of the same proportion take the budget.

    Two steps of two sizes are taken, whose memory is a constant and a part for each sample; optimizer, gradients and
    network, which are there after a first step, belong to the constant.

    Args:
        run, step: the run and the number of the step to take again.
        labelled, unlabelled: micro-batches of this process.
        budget: bytes.
    """
    batches = [batch for batch in (labelled, unlabelled) if batch is not None]
    counts = [len(batch["input"]) for batch in batches]
    units = gcd(*counts)
    sizes = max(units // 2, 1), 2 * max(units // 2, 1)
    device = run.accelerator.device
    resident = _held(run)
    small, large = (
        resident + peak_bytes(lambda size=size: _step(run, step, batches, size, units), device)  # type: ignore[misc]
        for size in sizes
    )
    each = (large - small) / (sizes[1] - sizes[0])
    constant = small - each * sizes[0]
    parts = run.accelerator.num_processes * run.settings.accumulate

    def batch(size: int) -> str:
        return " + ".join(str(count // units * size * parts) for count in counts)

    most = int((budget - constant) // each) if each > 0 else 0
    said = f"{batch(most)} samples at most" if most >= 1 else f"not even {batch(1)} samples; make the crop smaller"
    gib = 2**30
    return [
        f"{constant / gib:.3g} GiB, and {each / gib:.3g} for every {batch(1)} samples; tensors of one process alone, "
        f"measured at {batch(sizes[0])} and {batch(sizes[1])}",
        f"{budget / gib:.3g} GiB hold {said}",
    ]


def _step(run: PreparedRun, step: int, batches: list[Batch], size: int, units: int) -> None:
    grown = [{name: _sized(value, size, units) for name, value in batch.items()} for batch in batches]
    streams = [itertools.repeat(batch) for batch in grown]
    run.take_step(step, streams[0], streams[1] if len(streams) > 1 else None)


def _sized(value: torch.Tensor, size: int, units: int) -> torch.Tensor:
    """So many units of a batch, its samples taken again where it has fewer."""
    count = len(value) // units * size
    return value[torch.arange(count, device=value.device) % len(value)]


def _held(run: PreparedRun) -> int:
    """Bytes of network, algorithm and optimizer."""
    gc.collect()
    state = [x for group in run.optimizer.state.values() for x in group.values() if isinstance(x, torch.Tensor)]
    modules = [
        x for module in (run.model, run.algorithm) for x in itertools.chain(module.parameters(), module.buffers())
    ]
    return sum(x.numel() * x.element_size() for x in {id(x): x for x in [*modules, *state]}.values())
