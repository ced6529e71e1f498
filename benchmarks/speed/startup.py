"""How long the first things take: import, `--help`, a first training step, each in a fresh process.

    python benchmarks/speed/startup.py

The shortest of several rounds, in which the commands take turns. Nothing is faster than
`python -c pass`, and nothing that trains than `import torch`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from timing import best, machine, rounds, save, surroundings, table, timing_command_line

from residual_ssl.runtime.provenance import provenance

FIRST_STEP = ("experiment=digits", "algorithm=csl", "dry_run=true")


def main() -> None:
    parser = timing_command_line(__doc__, rounds=3)
    parser.add_argument("--first-step", nargs="+", default=FIRST_STEP, help="a training, for its first step")
    options = parser.parse_args()
    around = surroundings()
    cli = [sys.executable, "-m", "residual_ssl.cli"]
    with tempfile.TemporaryDirectory() as folder:
        place = [f"run_dir={Path(folder) / 'run'}", f"device={options.device}"]
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "import torch": [sys.executable, "-c", "import torch"],
            "import residual_ssl": [sys.executable, "-c", "import residual_ssl"],
            "a selector": [sys.executable, "-c", "from residual_ssl import ConvexSelector; ConvexSelector()"],
            "residual-ssl --help": [*cli, "--help"],
            "first step": [*cli, "train", *options.first_step, *place],
        }
        run = {name: lambda command=command: _run(command) for name, command in commands.items()}
        ms = best(rounds(run, options.rounds))
    seconds = {name: round(value / 1000, 2) for name, value in ms.items()}
    summary = {name: f"{value:.2f} s" for name, value in seconds.items() if name != "python -c pass"}
    record = {**provenance(), **around, "device": options.device, "rounds": options.rounds, "seconds": seconds}
    save(options.out, f"startup_{options.device}", {**record, "summary": summary}, report(record))
    print(report(record))


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})


def report(record: dict[str, Any]) -> str:
    rows = [
        [f"`{name}`" if " -" in name or "import" in name else name, f"{value:.2f}"]
        for name, value in record["seconds"].items()
    ]
    lines = [
        *("# How long the first things take", ""),
        f"Best of {record['rounds']} rounds, each command in a fresh process, {machine(record)};",
        f"the first step is that of `{' '.join(FIRST_STEP[:2])}`, with its data and one evaluated image.",
        *("", *table(["", "seconds"], rows), ""),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
