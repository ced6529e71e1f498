"""Two training processes on this machine, as torchrun would start them."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def run_on_two(work: Callable[[int, Path], None], folder: Path) -> None:
    """Call ``work(rank, folder)``, a function of a module, in two new processes that know each other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(_run, (work, folder, port), nprocs=2)


def _run(rank: int, work: Callable[[int, Path], None], folder: Path, port: int) -> None:
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "2"}
    work(rank, folder)
    dist.destroy_process_group()
