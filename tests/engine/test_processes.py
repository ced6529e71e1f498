"""A run on two processes: one log, one result, and statistics of a selector that agree everywhere."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from helpers.tiny_runs import SCENES

from residual_ssl import Selection, Selector
from residual_ssl.engine.records.run_log import read_log
from residual_ssl.errors import InvalidInputError
from residual_ssl.selection.features import judged_points


class CorrMatchThreshold(Selector):
    """Declares one state of each kind; trusts confidence above the running mean."""

    def __init__(self) -> None:
        super().__init__()
        self.add_state("mean", torch.tensor(0.5), "mean")
        self.add_state("count", torch.tensor(0.0), "sum")
        self.add_state("largest", torch.tensor(0.0), "max")

    def forward(self, logits: torch.Tensor, valid: torch.Tensor | None = None) -> Selection:
        points = judged_points(logits, valid)
        self.mean.copy_(self.reduced("mean", points.confidence.mean()))
        self.count.add_(self.reduced("count", points.valid.sum().float()))
        self.largest.copy_(self.reduced("largest", points.confidence.max()))
        return self.select(points, points.confidence > self.mean)


def _judge(rank: int, folder: str, logits: torch.Tensor) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    store = dist.FileStore(f"{folder}/store", 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    selector = CorrMatchThreshold()
    chosen = selector(logits.chunk(2)[rank])
    torch.save((selector.state_dict(), chosen.trusted), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_declared_state_is_the_same_on_all_processes_and_as_on_one(tmp_path: Path) -> None:
    logits = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    mp.spawn(_judge, (str(tmp_path), logits), nprocs=2)
    parts = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    single = CorrMatchThreshold()
    expected = single(logits)
    for state, _ in parts:
        for name, value in single.state_dict().items():
            torch.testing.assert_close(state[name], value, msg=lambda text, name=name: f"{name}: {text}")
    assert torch.equal(torch.cat([trusted for _, trusted in parts]), expected.trusted)


def test_an_unknown_reduction_is_named() -> None:
    with pytest.raises(InvalidInputError, match=r"reduction: got 'median', expected one of mean, sum, max, min"):
        Selector().add_state("x", torch.zeros(()), "median")  # type: ignore[arg-type]


def test_two_processes_train_one_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    overrides = [
        "experiment=digits",
        *SCENES,
        "algorithm=csl",
        "device=cpu",
        "steps=2",
        "evaluate_every=1",
        "log_every=1",
    ]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    batches = ["labelled_batch=4", "unlabelled_batch=4", f"run_dir={run}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launch, "-m", "residual_ssl.cli", "train", *overrides, *batches],
        capture_output=True,
        text=True,
        env=environment,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert "2 process(es)" in done.stdout
    steps = [row["step"] for row in read_log(run) if "train/loss" in row]
    assert steps == [1, 2]
    assert json.loads((run / "result.json").read_text())["last"]["step"] == 2
