"""Stops: signals to a process or to its group, with loader processes, to one of two processes, during an evaluation."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_runs import tiny_digits
from reliability.soak import _ranks, soak

from residual_ssl import train
from residual_ssl.engine import training
from residual_ssl.engine.interruption import StopRequested, stop_requests
from residual_ssl.engine.records.run_log import read_log
from residual_ssl.errors import ConfigError


def started(run: Path, *overrides: str, processes: int = 1) -> subprocess.Popen[bytes]:
    launch = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"] if processes > 1 else []
    common = ["experiment=digits_classification", "split=20", "algorithm=supervised", "device=cpu", f"run_dir={run}"]
    sizes = ["model.widths=[8,16]", "steps=5000", "evaluate_every=5000", "log_every=1", "labelled_batch=8"]
    return subprocess.Popen(
        [sys.executable, "-m", *launch, "residual_ssl.cli", "train", *common, *sizes, *overrides],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def wait_for(condition: Any, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)


def step_of(run: Path) -> int:
    step: int = torch.load(run / "last.pt", weights_only=True)["step"]
    return step


# Signal, to whom, processes, loader processes.
STOPS = {
    "SIGTERM to the group of loader processes": (signal.SIGTERM, "group", 1, 2),
    "SIGINT to the group of loader processes": (signal.SIGINT, "group", 1, 2),
    "SIGTERM to one process of two": (signal.SIGTERM, "rank", 2, 0),
    "SIGTERM to the group of two processes": (signal.SIGTERM, "group", 2, 0),
}


@pytest.mark.slow
@pytest.mark.parametrize(("number", "target", "processes", "workers"), STOPS.values(), ids=STOPS)
def test_a_stop_loses_no_step_and_is_said_once(
    tmp_path: Path, number: signal.Signals, target: str, processes: int, workers: int
) -> None:
    run = tmp_path / "run"
    process = started(run, f"workers={workers}", processes=processes)
    wait_for(lambda: len(read_log(run)) >= 5, process)
    reached = len(read_log(run))
    if target == "group":
        os.killpg(process.pid, number)
    else:
        os.kill(_ranks(process.pid)[1], number)
    sent = time.monotonic()
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - sent < 30
    assert step_of(run) >= reached
    assert errors.decode().count("the same command continues from there") == 1, errors.decode()


@pytest.mark.slow
def test_a_short_soak_ends_bit_identical(tmp_path: Path) -> None:
    assert soak(80, 3, tmp_path / "soak.json", tmp_path / "runs", cells=[(1, 2), (2, 0)])


def test_a_stop_during_an_evaluation_leaves_the_step_saved_and_the_evaluation_to_be_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_digits(tmp_path / "run", "algorithm=supervised", "steps=4", "evaluate_every=2")
    whole = train(tiny_digits(tmp_path / "whole", "algorithm=supervised", "steps=4", "evaluate_every=2"))
    original = training.evaluated

    def interrupted(*arguments: Any, **named: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return original(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(training, "evaluated", interrupted)
        with pytest.raises(StopRequested):
            train(config)
    assert step_of(tmp_path / "run") == 2
    assert not (tmp_path / "run" / "best.pt").exists()
    again = train(config)
    assert (again.last, again.best) == (whole.last, whole.best)
    rows = [[row["step"] for row in read_log(tmp_path / name)] for name in ("run", "whole")]
    assert rows[0] == rows[1]


def test_repeated_termination_signals_are_one_request() -> None:
    with stop_requests() as requested:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert requested.is_set()


def test_a_second_run_in_a_directory_is_refused_and_names_the_first(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = started(run)
    wait_for(lambda: len(read_log(run)) >= 1, process)
    try:
        with pytest.raises(ConfigError, match=rf"run_dir: .* is being written by process {process.pid} on "):
            train(tiny_digits(run, "algorithm=supervised"))
    finally:
        process.kill()
        process.wait()
    # What the killed process held is free at once.
    train(tiny_digits(run, "algorithm=supervised", "steps=1"))
