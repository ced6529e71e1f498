"""The record of a run: rows of metrics as JSON lines, told to whoever listens."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from residual_ssl.errors import ResidualSSLError, ResidualSSLWarning
from residual_ssl.runtime.files import write_text

LOG_NAME = "log.jsonl"


class RunLog:
    """Appends rows ``{"step": …, "train/loss": …}`` to ``log.jsonl`` of a run directory, the truth about the run.

    Args:
        run_dir: existing folder.
        start: steps done before; rows of later steps, left by a run that was cut off, are dropped.
        listeners: called with the step and the metrics of a row after it is written.
        on_close: called in the end.
    """

    def __init__(
        self,
        run_dir: Path,
        start: int = 0,
        listeners: Sequence[Callable[[int, Mapping[str, float]], None]] = (),
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self.path = run_dir / LOG_NAME
        kept = [row for row in read_log(run_dir) if row["step"] <= start]
        write_text(self.path, "".join(json.dumps(row) + "\n" for row in kept), "log")
        self._listeners = listeners
        self._on_close = on_close

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Add a row.

        Raises:
            ResidualSSLError: the file cannot be written.
        """
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **metrics}) + "\n")
        except OSError as error:
            raise ResidualSSLError(
                f"log {self.path}: cannot be written ({error.strerror}); the checkpoints are as they were. "
                "Free space, or give yourself the right to write there; the same command continues"
            ) from error
        for listener in self._listeners:
            listener(step, metrics)

    def close(self) -> None:
        """Tell whoever listens that there are no more rows."""
        self._on_close()


def read_log(run_dir: Path) -> list[dict[str, Any]]:
    """Rows of a run's log, oldest first.

    A last line that was cut off is left out; other lines that are no rows are left out with a warning.
    """
    path = run_dir / LOG_NAME
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    rows, bad = [], []
    for number, line in enumerate(lines, 1):
        row = _row(line)
        if row is not None:
            rows.append(row)
        elif number < len(lines):
            bad.append(number)
    if bad:
        listed = ", ".join(map(str, bad[:5])) + (" …" if len(bad) > 5 else "")
        warnings.warn(
            f"{path}: {len(bad)} of {len(lines)} lines are damaged and left out: line {listed}",
            ResidualSSLWarning,
            stacklevel=2,
        )
    return rows


def _row(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    if not isinstance(row, dict) or not all(isinstance(value, int | float) for value in row.values()):
        return None
    return row if isinstance(row.get("step"), int) else None
