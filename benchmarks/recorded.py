"""What the benchmarks share: their command line, training runs as rows, figures over seeds, tables, results files."""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from residual_ssl import compose, train

#: Labels-only training that every method of a seed continues.
WARM_UP = "warm-up"
#: Momentum of rules' moving averages, which begin by trusting everything. The published .999 has hardly left that after
#: some hundred steps.
MEMORY = 0.97

#: What a run tells of where it was made.
ORIGIN = ("command", "python", "versions", "hardware", "commit")


def command_line(about: str | None) -> argparse.ArgumentParser:
    """Arguments of every benchmark: where the results go."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="folder of the results")
    return parser


def training_command_line(about: str | None, sizes: Iterable[str], runs: str) -> argparse.ArgumentParser:
    """Arguments of a benchmark that trains."""
    parser = command_line(about)
    parser.add_argument("--size", choices=sizes, default="reduced")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks") / runs, help="folder of the runs")
    parser.add_argument("--set", nargs="+", default=[], dest="overrides", metavar="KEY=VALUE", help="for every run")
    parser.add_argument("--finished", action="store_true", help="train nothing, read the runs that are finished")
    return parser


def trained(overrides: Sequence[str], *, read_only: bool = False) -> dict[str, Any]:
    """Train a run, or continue or read it, and give its result; ``read_only`` trains nothing.

    Returns:
        What a row of results tells of any run: steps, figures of the last and the best evaluation and of the training,
        seconds, memory, command, versions, hardware, commit.
    """
    config = compose(list(overrides))
    if not read_only:
        train(config)
    result = json.loads((Path(config["run_dir"]) / "result.json").read_text())
    figures = ("last", "best", "training", "seconds", "peak_memory_gib")
    told = {"metric": result["main_metric"], "chosen_by": result["effective"].get("chosen_by")}
    return {"steps": config["steps"], **told, **{key: result[key] for key in figures + ORIGIN}}


def is_finished(run_dir: Path) -> bool:
    """Whether a run has a result."""
    return (run_dir / "result.json").exists()


def save(out: Path, name: str, record: dict[str, Any], text: str) -> None:
    """Write ``OUT/NAME.json`` and, for readers, ``OUT/NAME.md``; what rows say of their origin stands there once."""
    out.mkdir(parents=True, exist_ok=True)
    origins: list[dict[str, Any]] = []
    rows = []
    for row in record.get("rows", []):
        origin = {key: row[key] for key in ORIGIN if key in row}
        if origin and origin not in origins:
            origins.append(origin)
        place = {"origin": origins.index(origin)} if origin else {}
        rows.append({**{key: value for key, value in row.items() if key not in ORIGIN}, **place})
    told = {**record, **({"origins": origins, "rows": rows} if origins else {})}
    (out / f"{name}.json").write_text(json.dumps({"benchmark": name, **told}, indent=2) + "\n")
    (out / f"{name}.md").write_text(text)


def saved_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a results file as they were given to :func:`save`; none where there is no such file."""
    if not path.exists():
        return []
    record = json.loads(path.read_text())
    origins = record.get("origins", [])
    places = [row.pop("origin", None) for row in record["rows"]]
    return [row if place is None else row | origins[place] for row, place in zip(record["rows"], places, strict=True)]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    return [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(f"| {' | '.join(cells)} |" for cells in rows)]


def spread(values: Sequence[float], digits: int = 1, sign: str = "") -> str:
    """Mean ± standard deviation; the value alone where there is one, a dash where there is none."""
    if not values:
        return "–"
    # Adding 0 makes the minus of a rounded zero vanish.
    mean = f"{round(statistics.mean(values), digits) + 0.0:{sign}.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def share(rows: Iterable[dict[str, Any]], figure: str) -> str:
    """Coverage or purity over the last steps of the training, in per cent, of the runs that have any."""
    return spread([100 * row["training"][figure] for row in rows if figure in row["training"]])


def seconds(rows: Iterable[dict[str, Any]]) -> str:
    """Mean training time."""
    return f"{statistics.mean(row['seconds'] for row in rows):.0f}"


def positive(differences: Sequence[float], least: float = 0.0) -> bool:
    """Whether the mean of paired differences is larger than their standard deviation, and than ``least``."""
    noise = statistics.stdev(differences) if len(differences) > 1 else 0.0
    return statistics.mean(differences) > max(noise, least)
