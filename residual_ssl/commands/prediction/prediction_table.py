"""Predictions of whole samples as a table: a row for each file."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from residual_ssl.runtime.files import atomic_file

TABLE_NAME = "predictions.csv"


def write_table(path: Path, files: Sequence[Path], found: Sequence[Mapping[str, str | float]]) -> None:
    """Write a table in one step: the file, then the columns of each row.

    Args:
        path: of the table.
        files: N of them.
        found: a row for each, of one set of columns, as :meth:`residual_ssl.Task.rows` gives them.
    """
    text = io.StringIO(newline="")
    rows = csv.writer(text)
    rows.writerow(["file", *map(_text, found[0])])
    for name, row in zip(files, found, strict=True):
        cells = [f"{cell:.4f}" if isinstance(cell, float) else _text(cell) for cell in row.values()]
        rows.writerow([_text(str(name)), *cells])
    with atomic_file(path, "predictions") as file:
        file.write(text.getvalue().encode("utf-8", "surrogateescape"))


def _text(cell: str) -> str:
    """A cell that spreadsheets take for text: one that begins as a formula does gets an apostrophe in front."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
