"""The summary of a labelled pool, from which training data are read: its shards with their numbers of rows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from residual_ssl.errors import DataError, MissingDataError

LABELS, ROWS_SUFFIX = "labels", ".parquet"
SUMMARY = "summary.json"


@dataclass(frozen=True)
class PoolSummary:
    """What is known of a labelled pool without opening a shard.

    Attributes:
        folder: of it.
        classes: names of the classes that labels are of.
        dense: whether labels are maps.
        root: folder that paths of images are relative to.
        rows: number of rows of each shard.
    """

    folder: Path
    classes: tuple[str, ...]
    dense: bool
    root: Path
    rows: tuple[int, ...]

    @classmethod
    def read(cls, folder: str | Path) -> PoolSummary:
        """Read the summary that ``residual-ssl label`` wrote.

        Raises:
            MissingDataError: none there.
            DataError: one that cannot be read.
        """
        path = Path(folder) / SUMMARY
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                Path(folder),
                tuple(found["classes"]),
                bool(found["dense"]),
                Path(found["root"]),
                tuple(int(rows) for rows in found["rows"]),
            )
        except FileNotFoundError as error:
            raise MissingDataError(
                f"pool: {path} is not there; residual-ssl label writes it when all shards are done, and the same "
                "command goes on where it stopped"
            ) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"pool: {path} cannot be read, {error}; the same residual-ssl label writes it anew"
            ) from error
