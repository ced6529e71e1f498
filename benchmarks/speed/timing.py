"""Times of methods that take turns within a round, so that a busy machine slows all of them alike."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # of what all benchmarks share

from recorded import command_line as command_line
from recorded import save as save
from recorded import table as table

Methods = Mapping[str, Callable[[], Any]]
Times = dict[str, list[float]]


def timing_command_line(about: str | None, rounds: int) -> argparse.ArgumentParser:
    """Arguments of every benchmark of time."""
    parser = command_line(about)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch on a CPU")
    parser.add_argument("--rounds", type=int, default=rounds)
    return parser


def surroundings() -> dict[str, Any]:
    """What else bears on the times: how waiting threads wait, and how busy the machine is with other work."""
    return {"OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY"), "load_average": round(os.getloadavg()[0], 1)}


def rounds(methods: Methods, count: int, device: str = "cpu") -> Times:
    """Milliseconds of each method in each round, of ``count`` rounds after one to warm up."""
    times: Times = {name: [] for name in methods}
    for number in range(count + 1):
        for name, run in methods.items():
            _wait(device)
            start = time.perf_counter()
            run()
            _wait(device)
            if number > 0:
                times[name].append(1e3 * (time.perf_counter() - start))
    return times


def best(times: Times) -> dict[str, float]:
    """The shortest time of each method: what else the machine does only ever adds to it."""
    return {name: round(min(values), 3) for name, values in times.items()}


def machine(record: Mapping[str, Any]) -> str:
    """The hardware in words, and how busy it was with other work when the benchmark began."""
    hardware = record["hardware"]
    threads = "" if record["device"] == "cuda" else f"{hardware['torch_threads']} threads of "
    return f"{threads}{hardware['device']}, load {record['load_average']} on {hardware['cpu_count']} cores at the start"


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
