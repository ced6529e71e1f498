"""The page of a run, from what it recorded alone: no network, no data, a fraction of a second."""

from __future__ import annotations

import json
import shlex
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from residual_ssl.engine.pages import metric_name, number, rendered, training_charts
from residual_ssl.engine.records.result import RESULT_NAME
from residual_ssl.engine.records.run_log import read_log
from residual_ssl.engine.setup.effective import EFFECTIVE_NAME
from residual_ssl.errors import ResidualSSLWarning
from residual_ssl.runtime.files import json_text, write_text

PAGE_NAME = "report.html"
_HEADER = ("run", "step", "of", "last", "best", "coverage %", "purity %", "seconds")


@dataclass(frozen=True)
class RunRecord:
    """What a run has written so far.

    Attributes:
        name: to show.
        run_dir: its folder.
        config, effective: settings, and what they amount to; empty where they are not there yet.
        log: rows, oldest first.
        result: of a finished run, else None.
    """

    name: str
    run_dir: Path
    config: Mapping[str, Any]
    effective: Mapping[str, Any]
    log: Sequence[Mapping[str, float]]
    result: Mapping[str, Any] | None

    @classmethod
    def read(cls, run_dir: Path, name: str | None = None) -> RunRecord:
        """Read a run directory; files that are not there or half written count as empty."""
        config, effective = (_mapping(run_dir / file) for file in ("config.json", EFFECTIVE_NAME))
        result = _mapping(run_dir / RESULT_NAME)
        return cls(name or run_dir.name, run_dir, config, effective, read_log(run_dir), result or None)

    @property
    def metric(self) -> str:
        """The metric that the run is judged by."""
        return str((self.result or {}).get("main_metric") or self.effective.get("chosen_by") or "miou")

    @property
    def steps(self) -> tuple[int, int | None]:
        """Steps logged, and steps of the whole run where they are known."""
        total = self.effective.get("steps")
        return int(self.log[-1]["step"]) if self.log else 0, total if isinstance(total, int) else None

    @property
    def evaluations(self) -> list[dict[str, float]]:
        """Validation metrics of each evaluation with their step, oldest first."""
        found: list[dict[str, float]] = []
        for row in self.log:
            of_row = {key.removeprefix("validation/"): row[key] for key in row if key.startswith("validation/")}
            if of_row:
                found.append({"step": row["step"], **of_row})
        return found


def write_run_page(run_dir: Path) -> None:
    """Write ``report.html`` into the folder of a run; what goes wrong is a warning, as the run is done and saved."""
    try:
        write_text(run_dir / PAGE_NAME, run_page([RunRecord.read(run_dir)]), "report")
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        warnings.warn(f"{run_dir / PAGE_NAME}: not written ({reason}); the run is whole", ResidualSSLWarning, 2)


def run_page(records: Sequence[RunRecord], refresh: int | None = None) -> str:
    """A page on runs, finished or not: where they are, curves, and of a single one its classes and settings.

    Args:
        records: one or more, judged by the metric of the first.
        refresh: seconds after which a browser asks for the page anew; None: never.
    """
    first, metric = records[0], records[0].metric
    one = len(records) == 1
    result = first.result if one else None
    return rendered(
        "run.html",
        title=f"Run {first.name}" if one else f"{len(records)} runs",
        refresh=refresh,
        status=_status(first) if one else "",
        metric=metric_name(metric),
        header=_HEADER,
        rows=[_row(record, metric) for record in records],
        charts=training_charts([(record.name, record.log) for record in records], metric),
        classes=_classes(first) if one else None,
        result=result,
        origin=origin(result) if result else "",
        config=json_text(first.config) if one and first.config else "",
        effective=json_text(first.effective) if one and first.effective else "",
        commands=_commands(first) if result else [],
    )


def origin(result: Mapping[str, Any]) -> str:
    """Versions, hardware and commit of a run in one line."""
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items() if version)
    hardware = result["hardware"]
    return (
        f"Python {result['python']}, {versions} · {hardware['device']}, {hardware['torch_threads']} of "
        f"{hardware['cpu_count']} CPU threads · commit {result['commit'] or 'unknown'}"
    )


def _status(record: RunRecord) -> str:
    step, total = record.steps
    if record.result:
        return f"Finished after {step:,} steps."
    return f"Step {step:,}" + (f" of {total:,}." if total else ".") if step else "Nothing is logged yet."


def _row(record: RunRecord, metric: str) -> list[str]:
    step, total = record.steps
    scores = [row[metric] for row in record.evaluations if metric in row]
    training = [row for row in record.log if "train/loss" in row]
    last = training[-1] if training else {}
    seconds = record.result["seconds"] if record.result else None
    return [
        record.name,
        f"{step:,}",
        number(total, 0),
        number(scores[-1] if scores else None, 2),
        number(max(scores, default=None), 2),
        *(number(last.get(f"train/{key}"), 1, scale=100) for key in ("coverage", "purity")),
        number(seconds, 0),
    ]


def _classes(record: RunRecord) -> tuple[list[str], list[list[str]]] | None:
    """Metrics named ``kind/class`` of the last evaluation and of the best one as header and rows."""
    evaluations = record.evaluations
    if not evaluations or not any("/" in name for name in evaluations[-1]):
        return None
    metric = record.metric
    best = max(evaluations, key=lambda row: row.get(metric, float("-inf")))
    keys = [name for name in evaluations[-1] if "/" in name]
    kinds = list(dict.fromkeys(key.split("/", 1)[0] for key in keys))
    header = ["class", *(f"{metric_name(kind)} {which}" for kind in kinds for which in ("last", "best"))]
    rows = [
        [name, *(number(row.get(f"{kind}/{name}"), 1) for kind in kinds for row in (evaluations[-1], best))]
        for name in dict.fromkeys(key.split("/", 1)[1] for key in keys)
    ]
    return header, rows


def _commands(record: RunRecord) -> list[tuple[str, str]]:
    run = shlex.quote(str(record.run_dir))
    return [
        ("This page with pictures of samples, and beside other runs", f"residual-ssl report {run} --out report.html"),
        ("Labels, confidence and trust for your own files", f"residual-ssl predict {run} FILES --out predictions/"),
        ("The model as a folder to give away", f"residual-ssl share {run} --out model/"),
    ]


def _mapping(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
