"""What a run reached, as an object and as a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from residual_ssl.engine.records.run_log import read_log
from residual_ssl.runtime.provenance import provenance

RESULT_NAME = "result.json"
_AVERAGED_ROWS = 10


@dataclass(frozen=True)
class RunResult:
    """What a run reached.

    Attributes:
        run_dir: folder with log, checkpoints and ``result.json``.
        last, best: figures of the evaluation at the last step and at the best one, with ``step``; ``effective`` says
            under ``chosen_by`` which figure chose it.
        training: means of the last ten logged rows (loss terms, coverage, purity …).
        seconds: training time without evaluation.
        peak_memory_gib: largest GPU memory allocated by tensors, None on a CPU.
        epoch_steps: steps of an epoch where the run was given in epochs, else None.
        main_metric: the figure that the task is judged by.
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

    @property
    def score(self) -> float:
        """The main figure at the last step."""
        return self.last[self.main_metric]

    def write(self, config: Mapping[str, Any]) -> None:
        """Write ``run_dir/result.json``: the figures, the settings and where they come from."""
        record = {**asdict(self), "run_dir": str(self.run_dir), "config": config, **provenance()}
        write_json(self.run_dir / RESULT_NAME, record)

    @classmethod
    def read(cls, run_dir: Path) -> RunResult | None:
        """The result in a run directory, None where the run has not finished."""
        path = run_dir / RESULT_NAME
        if not path.exists():
            return None
        record = json.loads(path.read_text())
        return cls(**{f.name: record[f.name] for f in fields(cls) if f.name in record} | {"run_dir": run_dir})


def training_metrics(run_dir: Path) -> dict[str, float]:
    """Means of each training figure over the last logged rows of a run."""
    rows = [row for row in read_log(run_dir) if "train/loss" in row][-_AVERAGED_ROWS:]
    names = sorted({key for row in rows for key in row if key.startswith("train/")})
    values = {name: [row[name] for row in rows if name in row] for name in names}
    return {name.removeprefix("train/"): sum(found) / len(found) for name, found in values.items()}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON beside ``path`` and move it there in one step."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content, indent=2) + "\n")
    partial.replace(path)
