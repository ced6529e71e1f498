"""The Ray engine writes the rows that processes write, whatever of it is killed."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from helpers.pools import parquet_file, pictures, rows_of, summary_of
from helpers.tiny_runs import tiny_digits

from residual_ssl import train
from residual_ssl.commands.pools import label
from residual_ssl.commands.pools.label import label_shard
from residual_ssl.commands.pools.on_ray import OnRay, ShardWorker
from residual_ssl.data.pools import Manifest
from residual_ssl.errors import MissingPackageError

SELECTOR = "top_fraction:fraction=0.5"


def calm_work(folder: Path, images: int) -> Path:
    """A run, a pool and its labels by a process."""
    train(tiny_digits(folder / "run", "algorithm=fixmatch"))
    contents: list[bytes | None] = [*pictures(images, (32, 32))]
    contents[7] = b"no image"
    parquet_file(folder / "pool.parquet", contents, group=20)
    label(folder / "run", folder / "pool.parquet", folder / "calm", selector=SELECTOR, shard_size=20, device="cpu")
    return folder


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return calm_work(tmp_path_factory.mktemp("calm"), 80)


def test_an_actor_makes_what_a_process_makes_and_tells_what_it_could_not_read(calm: Path) -> None:
    out = calm / "out"
    out.mkdir()
    (out / "manifest.jsonl").write_bytes((calm / "calm" / "manifest.jsonl").read_bytes())
    (out / "statistics").symlink_to(calm / "calm" / "statistics")
    options = {"run": calm / "run", "selector": SELECTOR, "device": "cpu", "threads": None}
    make = partial(label_shard, keep="auto", root=str(calm))
    worker = ShardWorker(str(out), "labels", ".parquet", make, options)
    for number in range(len(Manifest(out))):
        told = worker({"number": [number]})
        assert told["skipped"] == [["pool.parquet/000007"] if number == 0 else []]
        assert told["fault"] == told["unreadable"] == [""]
        assert worker({"number": [number]})["skipped"] == [[]]  # done: a task that is repeated does nothing
    assert rows_of(out) == rows_of(calm / "calm")


def test_ray_that_is_not_installed_is_named(calm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'residual-ssl\[ray\]'"):
        OnRay(Manifest(calm / "calm"), {"run": "x"}, print)


def driver(folder: Path) -> subprocess.Popen[bytes]:
    arguments = [str(folder / "run"), str(folder / "pool.parquet"), "--out", str(folder / "out"), "--device", "cpu"]
    arguments += ["--selector", SELECTOR, "--shard-size", "20", "--engine", "ray"]
    command = [sys.executable, "-m", "residual_ssl.cli", "label", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_DEDUP_LOGS": "0"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def below(process: subprocess.Popen[bytes]) -> list[Any]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def actors(process: subprocess.Popen[bytes]) -> list[Any]:
    found = []
    for child in below(process):
        try:
            if any("MapWorker" in part for part in child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found


@pytest.mark.slow
def test_killed_actors_and_a_killed_driver_leave_the_labels_of_processes(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    calm = calm_work(tmp_path, 1200)
    killed = {"actors": 0, "drivers": 0}
    for _ in range(6):
        process, seen = driver(calm), []
        deadline = time.monotonic() + 300
        while process.poll() is None and time.monotonic() < deadline:
            seen = below(process) or seen
            done = len(list((calm / "out" / "labels").glob("0*"))) if (calm / "out" / "labels").exists() else 0
            if actors(process) and done > 3 * (killed["actors"] + 1) and killed["actors"] < 2:
                actors(process)[0].send_signal(signal.SIGKILL)
                killed["actors"] += 1
                time.sleep(2)
            elif killed["actors"] == 2 and done > 20 and not killed["drivers"]:
                process.send_signal(signal.SIGKILL)
                killed["drivers"] += 1
            time.sleep(0.05)
        process.wait(timeout=10)
        for child in seen:  # of a driver that was killed
            if child.is_running():
                child.kill()
        if process.returncode == 0:
            break
    assert process.returncode == 0
    assert killed == {"actors": 2, "drivers": 1}
    assert rows_of(calm / "out") == rows_of(calm / "calm")
    assert {**summary_of(calm / "out"), "skipped_images": 0} == {**summary_of(calm / "calm"), "skipped_images": 0}
