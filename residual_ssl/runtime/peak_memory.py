"""The most memory that tensors hold while something runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch


def peak_bytes(run: Callable[[], Any], device: torch.device) -> int:
    """Bytes that tensors on a device hold at most during a call, beyond what they held before it.

    Args:
        run: what is called, once.
        device: a GPU, whose allocator counts; or the CPU, where the profiler does, of all tensors made in this process.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before
    # Else the profiler says on standard output when it starts and stops.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        run()
    held = peak = 0
    assert profile.profiler is not None
    changes = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    for event in sorted(changes, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak
