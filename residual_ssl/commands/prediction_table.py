"""Predictions of whole samples as a table: a row for each file."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from residual_ssl.selection import Selection

TABLE_NAME = "predictions.csv"


def write_table(
    folder: Path, files: Sequence[Path], logits: Tensor, selection: Selection, names: Sequence[str]
) -> Path:
    """Write ``predictions.csv``: file, label, confidence, trust.

    Args:
        folder: made if needed.
        files: N of them.
        logits: ``(N, K)``; their largest is the label.
        selection: of all of them together, ``(N,)``: confidence, and trust, which is its weight.
        names: of the K classes.

    Returns:
        The file written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / TABLE_NAME
    columns = (logits.argmax(1).tolist(), selection.confidence.tolist(), selection.weight.tolist())
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "label", "confidence", "trust"])
        for name, label, confidence, trust in zip(files, *columns, strict=True):
            rows.writerow([name, names[label], f"{confidence:.4f}", f"{trust:.4f}"])
    return path
