"""The devices of a run: processes, precision, memory."""

from __future__ import annotations

import os
import resource
import sys
from datetime import timedelta

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs

from residual_ssl.config.durations import seconds_of
from residual_ssl.config.settings import Settings
from residual_ssl.errors import ConfigError


def accelerator_for(settings: Settings) -> Accelerator:
    """Processes, device and precision as the settings say.

    Raises:
        ConfigError: float16 on a CPU; batches that the processes cannot share; all faults at once.
    """
    # Accelerate keeps the choices of its first use; several runs in one program may differ in theirs.
    AcceleratorState._reset_state(reset_partial_state=not dist.is_initialized())
    accelerator = Accelerator(
        cpu=settings.device == "cpu",
        mixed_precision=settings.precision,
        kwargs_handlers=[
            DistributedDataParallelKwargs(broadcast_buffers=False),
            InitProcessGroupKwargs(timeout=_group_timeout(settings.timeout)),
        ],
    )
    found = []
    if settings.precision == "fp16" and accelerator.scaler is None:
        found.append(f"precision: got fp16 on {accelerator.device.type}, expected a GPU; use bf16 or no")
    parts = accelerator.num_processes * settings.accumulate
    found += [
        f"{name}: got {batch} for {accelerator.num_processes} processes × {settings.accumulate} micro-batches, "
        f"expected a multiple of {parts}"
        for name, batch in (
            ("labelled_batch", settings.labelled_batch),
            ("unlabelled_batch", settings.unlabelled_batch),
        )
        if batch % parts
    ]
    if found:
        raise ConfigError("\n".join(found))
    return accelerator


def is_main_process() -> bool:
    """Whether this is the first of the processes of a run, also before they know each other."""
    return dist.get_rank() == 0 if dist.is_initialized() else os.environ.get("RANK", "0") == "0"


def _group_timeout(timeout: str | None) -> timedelta:
    # What processes decide on their hosts gives up first, and says who waits for whom.
    return timedelta(seconds=seconds_of(timeout) + _LATER) if timeout is not None else timedelta(days=365)


def gpu_memory_gib(device: torch.device) -> float | None:
    """Largest GPU memory allocated by tensors so far, None on a CPU."""
    return torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None


def resident_memory_gib() -> float:
    """Largest resident set of this process so far."""
    unit = 1 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


_LATER = 30.0
