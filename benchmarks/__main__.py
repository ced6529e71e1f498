"""All benchmarks of time, one after the other.

    python -m benchmarks [--device cpu|cuda] [--only NAME …] [--budget 25min]

Each runs in a process of its own and writes its figures, command, versions, hardware and commit to OUT/NAME_DEVICE.json
with a table beside it; what one commit has measured is not measured again, so that a run that was cut off goes on. With
--device cuda the tests that need a GPU run first. At the end there is one table, in OUT/summary_DEVICE.md too.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from recorded import command_line, save, table

from residual_ssl.config.durations import seconds_of
from residual_ssl.runtime.provenance import provenance

FOLDER = Path(__file__).parent
TESTS = "tests"
#: Arguments of each benchmark, in order of what is worth most, by device.
BENCHMARKS: dict[str, dict[str, list[str]]] = {
    "cpu": {"selection": [], "train_step": [], "upsampled_loss": [], "scaling": [], "startup": []},
    "cuda": {
        "selection": ["--shapes", "8x21x321x321", "8x19x801x801", "8x150x512x512", "--rounds", "20"],
        "train_step": [
            *("--model", "deeplabv3plus_r101", "--crops", "321", "801"),
            *("--batch", "8", "--precisions", "no", "bf16"),
        ],
        "upsampled_loss": ["--shapes", "8x21x81x81 321x321", "8x19x201x201 801x801", "--rounds", "20"],
        "scaling": ["--rounds", "20"],
        "startup": [],
    },
}


@dataclass(frozen=True)
class Outcome:
    """How a benchmark went: ``state`` is measured, as before, failed, out of time or not begun."""

    name: str
    state: str
    seconds: float
    summary: dict[str, str]


def main(arguments: list[str] | None = None) -> int:
    options = parsed(arguments)
    budget = float("inf") if options.budget is None else seconds_of(options.budget)
    end = time.monotonic() + budget
    options.out.mkdir(parents=True, exist_ok=True)
    commit = provenance()["commit"]
    names = ([TESTS] if options.device == "cuda" else []) + list(BENCHMARKS[options.device])
    outcomes = []
    for name in names:
        if options.only is None or name in options.only:
            outcomes.append(outcome(name, options, commit, end))
            print(f"{name}: {outcomes[-1].state}, {outcomes[-1].seconds:.0f} s", flush=True)
    rows = [[o.name, o.state, what, figure] for o in outcomes for what, figure in (o.summary or {"": ""}).items()]
    text = "\n".join(["# Summary", "", *table(["benchmark", "state", "what", "figure"], rows), ""])
    figures = [{"name": o.name, "state": o.state, "seconds": round(o.seconds), "summary": o.summary} for o in outcomes]
    save(options.out, f"summary_{options.device}", {**provenance(), "outcomes": figures}, text)
    print(text)
    return int(any(o.state == "failed" for o in outcomes))


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = command_line(__doc__)
    parser.prog = "python -m benchmarks"
    parser.add_argument("--device", choices=list(BENCHMARKS), default="cpu")
    parser.add_argument("--only", nargs="+", choices=[TESTS, *BENCHMARKS["cpu"]], metavar="NAME", help="of these alone")
    parser.add_argument("--budget", metavar="DURATION", help="begin nothing after it, and stop what runs: 25min")
    parser.add_argument("--again", action="store_true", help="measure also what this commit has measured")
    parser.add_argument("--rounds", type=int, help="of every benchmark, in place of its own")
    return parser.parse_args(arguments)


def outcome(name: str, options: argparse.Namespace, commit: str | None, end: float) -> Outcome:
    """Run a benchmark, unless its figures are there or the time is over."""
    path = options.out / f"{name}_{options.device}.json"
    before = measured(path, commit)
    if before is not None and not options.again:
        return Outcome(name, "as before", 0.0, before)
    start = time.monotonic()
    if start >= end:
        return Outcome(name, "not begun", 0.0, {})
    limit = None if end == float("inf") else end - start
    try:
        done = subprocess.run(command(name, options), cwd=FOLDER.parent, timeout=limit, capture_output=True, text=True)
    except subprocess.TimeoutExpired:
        return Outcome(name, "out of time", time.monotonic() - start, {})
    seconds = time.monotonic() - start
    (options.out / f"{name}_{options.device}.log").write_text(done.stdout + done.stderr)
    if name == TESTS:
        said = done.stdout.strip().splitlines()[-1:] or ["nothing"]
        record = {**provenance(), "summary": {"tests on the GPU": said[0].strip("= ")}, "passed": done.returncode == 0}
        path.write_text(json.dumps(record, indent=2) + "\n")
    summary = measured(path)
    if done.returncode == 0 and summary is not None:
        return Outcome(name, "measured", seconds, summary)
    last = (done.stderr or done.stdout).strip().splitlines()[-1:]
    return Outcome(name, "failed", seconds, {"said": " ".join(last)})


def command(name: str, options: argparse.Namespace) -> list[str]:
    if name == TESTS:
        return [sys.executable, "-m", "pytest", "-q", "-n", "0", "-k", "cuda", "tests"]
    own = [*BENCHMARKS[options.device][name], *([] if options.rounds is None else ["--rounds", str(options.rounds)])]
    place = ["--device", options.device, "--out", str(options.out.resolve())]
    return [sys.executable, str(FOLDER / "speed" / f"{name}.py"), *place, *own]


def measured(path: Path, commit: str | None = None) -> dict[str, str] | None:
    """The summary of a benchmark, None where it has not been measured, or not with this commit."""
    try:
        record: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    same = commit in (None, record.get("commit")) and record.get("passed", True)
    return record.get("summary") if same else None


if __name__ == "__main__":
    sys.exit(main())
