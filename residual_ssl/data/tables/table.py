"""Tables of Hugging Face ``datasets``, opened with clear faults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from residual_ssl.data.classification.class_ids import class_ids
from residual_ssl.errors import ConfigError, DataError, MissingDataError

# Pickles, generators and queries; what a configuration names must be data.
_UNSAFE_FORMATS = ("pandas", "generator", "spark", "sql", "cache")

DataFiles = str | Sequence[str] | Mapping[str, str | Sequence[str]]


def load_table(path: str, split: str, options: Mapping[str, Any]) -> Any:
    """A split of a dataset, as ``datasets.load_dataset`` gives it.

    Args:
        path: id on the hub, ``"parquet"`` or ``"imagefolder"``.
        split: its name, or a part of it.
        options: further arguments, ``data_files`` among them or None.

    Raises:
        ConfigError: a format that runs code.
        MissingDataError: no such dataset or files.
        DataError: a split that is not there, files that cannot be read as a table.
    """
    # Imported late: most runs have their data elsewhere, and the import takes a second.
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    if path in _UNSAFE_FORMATS:
        raise ConfigError(
            f"path: got {path!r}, a format whose files run code when they are read; save the rows as Parquet or CSV"
        )
    files = options.get("data_files")
    if isinstance(files, Mapping) and (part := split.partition("[")[0]) in files:
        options = {**options, "data_files": {part: files[part]}}  # splits loaded together must have the same columns
    try:
        return load_dataset(path, split=split, **options)
    except (DatasetsError, OSError, ValueError) as error:
        kind = MissingDataError if isinstance(error, OSError) else DataError
        cause = error.__cause__ or error
        raise kind(f"dataset {path!r}, split {split!r}: {str(cause) or type(cause).__name__}") from error


def image_column(table: Any, argument: str, column: str, source: str) -> Any:
    """The table with this column of images alone, not decoded.

    Raises:
        ConfigError: no such column, or one of something else; names the argument that chose it.
    """
    from datasets import Image

    if not isinstance(table.features.get(column), Image):
        got = table.features.get(column)
        raise ConfigError(
            f"{argument}: got column {column!r} of {source}, "
            f"{'which is not there' if got is None else f'which holds {got}'}; expected a column of images, one of "
            f"{', '.join(name for name, kind in table.features.items() if isinstance(kind, Image)) or 'none'}"
        )
    return table.select_columns([column]).cast_column(column, Image(decode=False))


def class_column(table: Any, column: str, classes: Sequence[str], source: str) -> tuple[int | None, ...]:
    """Class ids of a column of names or ids; None where its cell is empty.

    Raises:
        ConfigError: no such column, or one of something else; classes that it does not have.
    """
    from datasets import ClassLabel, Value

    kind = table.features.get(column)
    stored = kind.dtype if isinstance(kind, Value) else ""
    labels = list(table[column]) if column in table.features else []
    if stored.startswith("float"):  # an empty cell may be no number, NaN
        labels = [None if label is None or label != label else label for label in labels]
    if stored.startswith("float") and all(label is None or label.is_integer() for label in labels):
        # Ids next to empty cells of a CSV file are read as floating numbers.
        labels, stored = [None if label is None else int(label) for label in labels], "int64"
    if not (isinstance(kind, ClassLabel) or stored.startswith(("int", "uint", "string", "large_string", "bool"))):
        raise ConfigError(
            f"label: got column {column!r} of {source}, "
            f"{'which is not there' if kind is None else f'which holds {kind}'}; expected names or ids of classes, one "
            f"of {', '.join(name for name in table.features) or 'none'}"
        )
    return class_ids(labels, classes, kind.names if isinstance(kind, ClassLabel) else None, source)
