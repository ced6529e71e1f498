"""The record of a run: rows of figures as JSON lines and for TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

LOG_NAME = "log.jsonl"


class RunLog:
    """Appends rows ``{"step": …, "train/loss": …}`` to ``log.jsonl`` and to TensorBoard event files of a run directory.

    Args:
        run_dir: existing folder.
        start: steps done before; rows of later steps, left by a run that was cut off, are dropped.
    """

    def __init__(self, run_dir: Path, start: int = 0) -> None:
        self.path = run_dir / LOG_NAME
        kept = [row for row in read_log(run_dir) if row["step"] <= start]
        self.path.write_text("".join(json.dumps(row) + "\n" for row in kept))
        self._writer = SummaryWriter(str(run_dir / "tensorboard"), purge_step=start + 1)  # type: ignore[no-untyped-call]

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Add a row."""
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **figures}) + "\n")
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Flush the event files."""
        self._writer.close()  # type: ignore[no-untyped-call]


def read_log(run_dir: Path) -> list[dict[str, Any]]:
    """Rows of a run's log, oldest first; a last line that was cut off is left out."""
    path = run_dir / LOG_NAME
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows
