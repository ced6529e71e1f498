"""The table of a report: a row a run, what it reached and which pseudo-labels it used."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from residual_ssl.commands.report.runs import FinishedRun
from residual_ssl.engine.pages import ABSENT, metric_name, number

_SELECTION = ("coverage", "purity", "trusted", "accuracy")


@dataclass(frozen=True)
class Table:
    """Cells as they are shown, the first column naming the row.

    Attributes:
        header: names of the columns.
        rows: one tuple of cells a row.
        best: for the column in second place, which rows hold its largest value; none where nothing is compared.
        notes: sentences without which the table would be misread.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    best: tuple[bool, ...]
    notes: tuple[str, ...]

    def text(self) -> str:
        """Plain text with aligned columns, the notes below."""
        lines = [self.header, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.header))]
        aligned = [
            "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
            for line in lines
        ]
        return "\n".join([*aligned, "", *self.notes])

    def markdown(self) -> str:
        """A Markdown table, the notes below as a list."""
        lines = [self.header, ("---", *("---:" for _ in self.header[1:])), *self.rows]
        table = "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
        return "\n".join([table, "", *(f"- {note}" for note in self.notes)])


def comparison(runs: Sequence[FinishedRun]) -> Table:
    """What the runs reached, in the order given.

    Columns: the task's main metric at the last and at the best evaluation, in per cent; coverage, purity, trusted share
    and accuracy of the pseudo-labels in training, in per cent; steps; seconds of training; seed.
    """
    metric = runs[0].task.main_metric
    name = metric_name(metric)
    last = [float(run.result["last"].get(metric, math.nan)) for run in runs]
    top = max((value for value in last if math.isfinite(value)), default=math.nan)
    rows = tuple(
        (
            run.name,
            number(value, 2),
            number(run.result["best"].get(metric), 2),
            *(number(run.result["training"].get(key), 1, scale=100) for key in _SELECTION),
            f"{run.result['last']['step']:,.0f}",
            number(run.result["seconds"], 0),
            str(run.config["seed"]),
        )
        for run, value in zip(runs, last, strict=True)
    )
    header = ("run", f"{name} last", f"{name} best", *(f"{key} %" for key in _SELECTION), "steps", "seconds", "seed")
    best = tuple(len(runs) > 1 and value == top for value in last)
    return Table(header, rows, best, tuple(_notes([run.config for run in runs])))


def _notes(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    notes = [
        "Coverage, purity, trusted, accuracy: of the pseudo-labels, mean over the last logged training steps; "
        f"{ABSENT} where a run has none or the truth is not known."
    ]
    choices = sorted({config["task"]["choose_by"] for config in configs if config["task"].get("choose_by")})
    if choices:
        notes.append(f"Best: of a run with choose_by, the checkpoint that {', '.join(choices)} chose.")
    starts = {config["init_from"] for config in configs}
    if starts != {None}:
        same = "All runs continue the same warm-up" if len(configs) > 1 else "The run continues the warm-up"
        different = "The runs start from different weights (init_from differs)."
        notes.append(f"{same} {next(iter(starts))}." if len(starts) == 1 else different)
    # The seed may be part of a source that is rendered.
    if any(config["task"].get("source") != configs[0]["task"].get("source") for config in configs):
        notes.append("The runs do not have the same data (task.source differs).")
    seeds = sorted({config["seed"] for config in configs})
    used = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}"
    notes.append(
        f"Each row is one run with one seed ({used}): no difference below the noise between seeds shows here, and the "
        "table says no more than what these runs reached."
    )
    return notes
