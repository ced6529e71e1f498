"""Predictions of whole samples as a table: a row for each file."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from residual_ssl.runtime.files import atomic_file
from residual_ssl.selection import Selection

TABLE_NAME = "predictions.csv"


def write_table(path: Path, files: Sequence[Path], logits: Tensor, selection: Selection, names: Sequence[str]) -> None:
    """Write a table in one step: file, label, confidence, trust.

    Args:
        path: of the table.
        files: N of them.
        logits: ``(N, K)``; their largest is the label.
        selection: of all of them together, ``(N,)``: confidence, and trust, which is its weight.
        names: of the K classes.
    """
    columns = (logits.argmax(1).tolist(), selection.confidence.tolist(), selection.weight.tolist())
    text = io.StringIO(newline="")
    rows = csv.writer(text)
    rows.writerow(["file", "label", "confidence", "trust"])
    for name, label, confidence, trust in zip(files, *columns, strict=True):
        rows.writerow([_text(str(name)), _text(names[label]), f"{confidence:.4f}", f"{trust:.4f}"])
    with atomic_file(path, "predictions") as file:
        file.write(text.getvalue().encode("utf-8", "surrogateescape"))


def _text(cell: str) -> str:
    """A cell that spreadsheets take for text: one that begins as a formula does gets an apostrophe in front."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
