"""Whatever is killed and however many processes there are, the labels are those of an undisturbed work."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.pools import parquet_file, pictures, rows_of, summary_of
from helpers.tiny_runs import tiny_digits

from residual_ssl import train
from residual_ssl.commands.pools import label

IMAGES, KILLS, TRIES = 3000, 20, 200


def started(arguments: list[str], rank: int, size: int) -> subprocess.Popen[bytes]:
    """A process as torchrun starts it, slowed down so that there is something to kill."""
    command = [sys.executable, "-m", "residual_ssl.cli", "label", *arguments]
    told = {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env={**os.environ, **told}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.slow
def test_killed_processes_leave_the_labels_of_an_undisturbed_work(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(tiny_digits(run, "algorithm=fixmatch"))
    contents: list[bytes | None] = [*pictures(IMAGES, (64, 64))]
    contents[77] = b"no image"
    for i in range(3):
        parquet_file(tmp_path / "pool" / f"{i}.parquet", contents[i::3], group=20)
    options = {"selector": "top_fraction:fraction=0.5", "shard_size": 20}
    label(run, tmp_path / "pool", tmp_path / "calm", device="cpu", **options)  # type: ignore[arg-type]

    arguments = [str(run), str(tmp_path / "pool"), "--out", str(tmp_path / "out"), "--device", "cpu"]
    arguments += ["--selector", options["selector"], "--shard-size", "20", "--batch", "16"]  # type: ignore[list-item]
    rng = random.Random(0)
    killed, finished = 0, 0
    for _ in range(TRIES):
        size = rng.choice([1, 3])
        processes = [started(arguments, rank, size) for rank in range(size)]
        done = time.monotonic() + 900
        # From the first imports to well into the work; some processes are left to end by themselves.
        moments = {rank: time.monotonic() + rng.uniform(1.5, 7) * size for rank in range(size) if killed < KILLS}
        while any(process.poll() is None for process in processes) and time.monotonic() < done:
            for rank, moment in list(moments.items()):
                if time.monotonic() >= moment and processes[rank].poll() is None:
                    processes[rank].send_signal(signal.SIGKILL)
                    killed += 1
                    moments.pop(rank)
            time.sleep(0.02)
        statuses = [process.wait(timeout=5) for process in processes]
        finished += statuses.count(0)
        if (tmp_path / "out" / "summary.json").exists() and killed < KILLS:
            for path in rng.sample(sorted((tmp_path / "out").rglob("0*.*")), 60):
                path.unlink()  # done too soon for as many kills: some work is taken back
            (tmp_path / "out" / "summary.json").unlink()
        elif killed >= KILLS and 0 in statuses:
            break
    assert killed >= KILLS
    assert finished
    rows = rows_of(tmp_path / "out")
    assert len(rows) == len({row["id"] for row in rows}) == IMAGES - 1
    assert rows == rows_of(tmp_path / "calm")
    ours, calm = summary_of(tmp_path / "out"), summary_of(tmp_path / "calm")
    assert ours == calm
    assert ours["skipped_images"][0]["id"] == "2.parquet/000025"
    assert not list((tmp_path / "out").rglob(".*"))
