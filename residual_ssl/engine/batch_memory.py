"""How much memory a step takes for each sample, and the largest batch that fits into a budget."""

from __future__ import annotations

import itertools
from math import gcd

import torch

from residual_ssl.engine.setup.prepared import PreparedRun
from residual_ssl.runtime.peak_memory import peak_bytes
from residual_ssl.task import Batch

_GIB = 2**30


def batch_memory(run: PreparedRun, step: int, labelled: Batch, unlabelled: Batch | None, budget: float) -> list[str]:
    """Lines that say what a step takes, and which batches of the same proportion fit into the budget.

    One step is measured. What it takes beyond network, algorithm and optimizer is counted for its samples, though some,
    as gradients, does not grow with them: what is said of batches larger than the measured one is never too much.

    Args:
        run, step: the run, after a first step, and the number of the step to take again.
        labelled, unlabelled: micro-batches of this process.
        budget: bytes.
    """
    batches = [batch for batch in (labelled, unlabelled) if batch is not None]
    streams = [itertools.repeat(batch) for batch in batches]
    counts = [len(batch["input"]) for batch in batches]
    units = gcd(*counts)
    parts = run.accelerator.num_processes * run.settings.accumulate

    def take_step() -> None:
        run.take_step(step, streams[0], streams[1] if len(streams) > 1 else None)

    def batch(size: int) -> str:
        return " + ".join(str(count // units * size * parts) for count in counts)

    held = held_bytes(run)
    each = peak_bytes(take_step, run.accelerator.device) / units
    most = max(int((budget - held) // each), 0)
    said = f"{batch(most)} samples" if most else f"not even {batch(1)} samples; make the crop smaller"
    again = "; measure again with that batch" if 0 < most < units else ""
    return [
        f"{held / _GIB:.3g} GiB, and {each / _GIB:.3g} for every {batch(1)} samples, measured with {batch(units)}; "
        "tensors of one process alone",
        f"{budget / _GIB:.3g} GiB hold {said}{again}",
    ]


def held_bytes(run: PreparedRun) -> int:
    """Bytes of network, algorithm and the optimizer's state."""
    modules = (run.model, run.algorithm)
    tensors = [x for module in modules for x in itertools.chain(module.parameters(), module.buffers())]
    tensors += [x for state in run.optimizer.state.values() for x in state.values() if isinstance(x, torch.Tensor)]
    return sum(x.numel() * x.element_size() for x in {id(x): x for x in tensors}.values())
