"""What a run reached, as an object and as a file."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from residual_ssl.engine.records.run_log import read_log
from residual_ssl.errors import ResidualSSLWarning
from residual_ssl.runtime.files import write_json
from residual_ssl.runtime.provenance import provenance

RESULT_NAME = "result.json"
_AVERAGED_ROWS = 10


@dataclass(frozen=True)
class RunResult:
    """What a run reached.

    Attributes:
        run_dir: folder with log, checkpoints and ``result.json``.
        last, best: metrics of the evaluation at the last step and at the best one, with ``step``; ``effective`` says
            under ``chosen_by`` which metric chose it.
        training: means of the last ten logged rows (loss terms, coverage, purity …).
        seconds: training time without evaluation.
        peak_memory_gib: largest GPU memory allocated by tensors, None on a CPU.
        epoch_steps: steps of an epoch where the run was given in epochs, else None.
        main_metric: the metric that the task is judged by.
        skipped_steps: optimiser steps left out because a gradient was not finite.
        skipped_samples: number of training samples that could not be read, for which others were taken.
        unreadable: ``set``, ``name`` and ``reason`` of each of them, a thousand at most.
        note: what the metrics do not say of themselves, such as that there were none; empty otherwise.
        effective: what the settings amounted to: device, batches, steps, learning rates …
    """

    run_dir: Path
    last: dict[str, float]
    best: dict[str, float]
    training: dict[str, float]
    seconds: float
    peak_memory_gib: float | None
    epoch_steps: float | None = None
    main_metric: str = "miou"
    effective: Mapping[str, Any] = field(default_factory=dict)
    skipped_steps: int = 0
    note: str = ""
    skipped_samples: int = 0
    unreadable: list[dict[str, str]] = field(default_factory=list)

    @property
    def score(self) -> float:
        """The main metric at the last step; -inf where nothing was measured."""
        return self.last.get(self.main_metric, -math.inf)

    def write(self, config: Mapping[str, Any]) -> None:
        """Write ``run_dir/result.json``: the metrics, the settings and where they come from."""
        write_json(self.run_dir / RESULT_NAME, {**self.record(), "config": config, **provenance()})

    def record(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {**asdict(self), "run_dir": str(self.run_dir)}

    @classmethod
    def read(cls, run_dir: Path) -> RunResult | None:
        """The result in a run directory, None where the run has not finished or the file is damaged, with a warning."""
        path = run_dir / RESULT_NAME
        if not path.exists():
            return None
        try:
            record = json.loads(path.read_text())
            found = cls(**{f.name: record[f.name] for f in fields(cls) if f.name in record} | {"run_dir": run_dir})
            whole = isinstance(found.last, dict) and isinstance(found.best, dict)
        except (OSError, ValueError, TypeError) as error:
            whole, reason = False, type(error).__name__
        else:
            reason = "last and best are no metrics"
        if whole:
            return found
        warnings.warn(f"{path}: cannot be read ({reason}) and does not count", ResidualSSLWarning, stacklevel=2)
        return None


def training_metrics(run_dir: Path) -> dict[str, float]:
    """Means of each training metric over the last logged rows of a run."""
    rows = [row for row in read_log(run_dir) if "train/loss" in row][-_AVERAGED_ROWS:]
    names = sorted({key for row in rows for key in row if key.startswith("train/")})
    values = {name: [row[name] for row in rows if name in row] for name in names}
    return {name.removeprefix("train/"): sum(found) / len(found) for name, found in values.items()}


def missing_metrics_note(counts: Mapping[str, int], metric: str, last: Mapping[str, float]) -> str:
    """Say why a run has no metric, or not its main one; nothing where it has."""
    if not counts.get("validation"):
        return "there was no validation set: nothing is measured, and best.pt is the last network"
    if metric not in last:
        return f"{metric} is not known: no point of the validation set has a label"
    return ""
