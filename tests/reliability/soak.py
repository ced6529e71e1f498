"""A soak: runs are killed and stopped at random moments, continued, and must end bit for bit as undisturbed ones.

    python tests/reliability/soak.py --steps 2000 --kills 30 --out soak.json

The steps and the kills are divided among runs with 1 and 2 processes and 0 and 2 loader processes each. What is done
is recorded after every event: the same command continues a soak that was itself stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from residual_ssl.engine.records.run_log import read_log
from residual_ssl.errors import CheckpointError, MissingDataError
from residual_ssl.runtime import checkpoint
from residual_ssl.runtime.files import write_json

CELLS = [(processes, workers) for processes in (1, 2) for workers in (0, 2)]
# How a run ends early: the signal, and whether it goes to all processes of the group or to one that trains.
ENDS = [
    (signal.SIGKILL, "process"),
    (signal.SIGKILL, "group"),
    (signal.SIGTERM, "process"),
    (signal.SIGTERM, "group"),
    (signal.SIGINT, "group"),
]
_PATIENCE = 180.0


def soak(steps: int, kills: int, out: Path, work: Path, seed: int = 0, cells: list[tuple[int, int]] = CELLS) -> bool:
    """Run a soak, or go on with one; True where every run ended as the undisturbed one."""
    record: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {"runs": {}}
    record |= {"steps": steps, "kills": kills, "seed": seed}
    share = steps // len(cells)
    for number, (processes, workers) in enumerate(cells):
        name = f"{processes}-processes-{workers}-workers"
        run = record["runs"].setdefault(name, {"events": []})
        if "identical" in run:
            continue
        reference = work / f"reference-{processes}"
        if not (reference / "result.json").exists():
            _wait(_start(reference, processes, 0, share))
        draw = random.Random(f"{seed} {name}")
        own = kills // len(cells) + (number < kills % len(cells))
        planned = [(step, draw.choice(ENDS)) for step in sorted(draw.sample(range(share), own))]
        for step, (number_of_signal, target) in planned[len(run["events"]) :]:
            run["events"].append(_disturbed(work / name, processes, workers, share, step, number_of_signal, target))
            write_json(out, record)
        run["rc"] = _wait(_start(work / name, processes, workers, share))
        run["differences"] = differences(work / name, reference)
        lost = [event for event in run["events"] if event["lost"]]
        run["identical"] = run["rc"] == 0 and not run["differences"] and not lost
        write_json(out, record)
    record["identical"] = all(run["identical"] for run in record["runs"].values())
    write_json(out, record)
    return bool(record["identical"])


def differences(run: Path, reference: Path) -> list[str]:
    """What differs between two finished runs: weights, states, metrics, rows of the log."""
    found = []
    first, second = (checkpoint.load(path / "last.pt") for path in (run, reference))
    for entry in ("model", "algorithm"):
        found += [f"{entry}.{key}" for key, value in second[entry].items() if not _equal(first[entry][key], value)]
    found += [entry for entry in ("best", "last", "step") if first[entry] != second[entry]]
    rows = [[row for row in read_log(path) if "train/loss" in row] for path in (run, reference)]
    found += ["log.jsonl"] if [_losses(row) for row in rows[0]] != [_losses(row) for row in rows[1]] else []
    return found


def _losses(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key == "step" or "loss" in key}


def _equal(first: Any, second: Any) -> bool:
    return torch.equal(first, second) if isinstance(second, torch.Tensor) else bool(first == second)


def _start(run_dir: Path, processes: int, workers: int, steps: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m"]
    if processes > 1:
        command += ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
    command += ["residual_ssl.cli", "train", "experiment=digits_classification", "split=20", f"run_dir={run_dir}"]
    command += ["device=cpu", "model.widths=[8,16]", f"steps={steps}", "warmup_steps=0", f"workers={workers}"]
    command += ["labelled_batch=8", "unlabelled_batch=8", "log_every=1", "evaluate_every=50", "checkpoint_every=7"]
    run_dir.parent.mkdir(parents=True, exist_ok=True)
    errors = run_dir.with_name(f"{run_dir.name}.err").open("ab")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True)


def _disturbed(
    run_dir: Path, processes: int, workers: int, steps: int, step: int, number: signal.Signals, target: str
) -> dict[str, Any]:
    """Run until a step is logged, send the signal, and see what is left."""
    process = _start(run_dir, processes, workers, steps)
    started = time.monotonic()
    while process.poll() is None and _logged(run_dir) <= step and time.monotonic() - started < _PATIENCE:
        time.sleep(0.01)
    reached = _logged(run_dir)
    if target == "group":
        os.killpg(process.pid, number)
    else:
        ranks = _ranks(process.pid) or [process.pid]
        os.kill(ranks[step % len(ranks)], number)
    sent = time.monotonic()
    rc = _wait(process)
    stored = _stored(run_dir)
    # A stop loses nothing; a kill at most the steps since the last checkpoint.
    kept = reached - (0 if number != signal.SIGKILL else 7)
    return {
        "signal": number.name,
        "target": target,
        "reached": reached,
        "stored": stored,
        "seconds_to_end": round(time.monotonic() - sent, 2),
        "rc": rc,
        "lost": stored < kept,
    }


def _wait(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _logged(run_dir: Path) -> int:
    path = run_dir / "log.jsonl"
    try:
        lines = path.read_text().splitlines()[-3:]
    except OSError:
        return 0
    steps = [0]
    for line in lines:
        try:
            steps.append(json.loads(line)["step"])
        except ValueError:
            continue
    return max(steps)


def _stored(run_dir: Path) -> int:
    try:
        return int(checkpoint.load(run_dir / "last.pt")["step"])
    except (CheckpointError, MissingDataError):
        return 0


def _ranks(parent: int) -> list[int]:
    """Processes of a launcher that train, by their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1]) != parent:
                continue
            if b"\0RANK=" in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except (OSError, IndexError):
            continue
    return found


def main() -> int:
    """Run a soak from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("soak.json"))
    parser.add_argument("--work", type=Path, default=None, help="folder of the runs; beside OUT by default")
    options = parser.parse_args()
    work = options.work or options.out.with_suffix(".runs")
    good = soak(options.steps, options.kills, options.out, work, options.seed)
    for name, run in json.loads(options.out.read_text())["runs"].items():
        ends = f"{len(run['events'])} kills and stops"
        print(f"{name}: {ends}, {'bit-identical' if run['identical'] else f'DIFFERS: {run}'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
