"""Rows of features with a number to predict: the number as the id of the bin that it lies in."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from residual_ssl.data.classification.classified import ClassifiedSubset
from residual_ssl.data.splits.lists import few
from residual_ssl.data.tables.feature_rows import FeatureArrays, RawRows, feature_numbers
from residual_ssl.data.tables.table import DataFiles, load_table
from residual_ssl.errors import ConfigError, DataError


@dataclass(frozen=True)
class Bins:
    """Intervals of one width between two values; the first and the last hold what lies beyond them as well.

    Args:
        low, high: values, low < high.
        count: K ≥ 3 intervals.

    Raises:
        ConfigError: values or a number outside these ranges.

    Example:
        >>> bins = Bins(0.0, 10.0, 5)
        >>> bins.centres, bins.ids([3.9, -2.0, None, 10.0])
        ((1.0, 3.0, 5.0, 7.0, 9.0), (1, 0, None, 4))
    """

    low: float
    high: float
    count: int

    def __post_init__(self) -> None:
        if not -math.inf < self.low < self.high < math.inf:
            raise ConfigError(f"low, high: got {self.low} and {self.high}, expected two numbers, low < high")
        if not isinstance(self.count, int) or self.count < 3:
            raise ConfigError(f"count: got {self.count!r}, expected a number of bins ≥ 3")

    @property
    def width(self) -> float:
        """Of every interval."""
        return (self.high - self.low) / self.count

    @property
    def centres(self) -> tuple[float, ...]:
        """Middle of each interval."""
        return tuple(self.low + (i + 0.5) * self.width for i in range(self.count))

    def ids(self, values: Sequence[float | None]) -> tuple[int | None, ...]:
        """The interval of each value; None where there is none."""
        last = self.count - 1
        return tuple(
            None if v is None or v != v else min(max(math.floor((v - self.low) / self.width), 0), last) for v in values
        )


class ValueSplit:
    """A source of rows with a number each, of which some training rows are labelled.

    Args:
        bins: what the numbers are told apart by; ids of bins are the classes of samples.
        read: ``read(split=name)`` gives the rows of a split, ``labels`` being numbers, None where unknown; as
            :func:`~residual_ssl.data.loaded_rows` and :func:`value_rows` with their other arguments given.
        transform: scikit-learn transformer, a copy of which is fitted to the training rows and transforms both sets.
        labelled: how many training rows with a number are labelled, drawn by the seed; or ``"all"``.
        train, validation: names of the splits.
        unlabelled_truth: keep known numbers of unlabelled rows, *for diagnostics only*.
        seed: of the draw.

    Attributes ``classes``, ``labelled``, ``unlabelled``, ``validation``: as of a ``ClassificationSource``.

    Raises:
        ConfigError: more labelled rows than there can be; inputs that the transformer refuses.
        DataError: features that are not finite, validation rows without a number.
    """

    def __init__(
        self,
        bins: Bins,
        read: Callable[..., RawRows],
        transform: Any,
        labelled: int | str,
        train: str = "train",
        validation: str = "validation",
        unlabelled_truth: bool = True,
        seed: int = 0,
    ) -> None:
        self.classes = tuple(f"{centre:.6g}" for centre in bins.centres)
        rows, held_out = read(split=train), read(split=validation)
        features, of_held_out = feature_numbers(transform, [(train, rows.inputs), (validation, held_out.inputs)])
        samples = FeatureArrays(features, bins.ids(rows.labels), train)
        tested = FeatureArrays(of_held_out, bins.ids(held_out.labels), validation)
        if None in tested.labels:
            raise DataError(f"{validation}: {tested.labels.count(None)} rows have no number; leave them out")
        known = [i for i, label in enumerate(samples.labels) if label is not None]
        count = len(known) if labelled == "all" else labelled
        if not isinstance(count, int) or not 1 <= count <= len(known):
            raise ConfigError(f"labelled: got {labelled!r}, expected a number of rows in 1 … {len(known)}, or all")
        order = torch.randperm(len(known), generator=torch.Generator().manual_seed(seed)).tolist()
        chosen = {known[i] for i in order[:count]}
        rest = [i for i in range(len(samples)) if i not in chosen]
        self.labelled = ClassifiedSubset(samples, sorted(chosen))
        self.unlabelled = ClassifiedSubset(samples, rest, labels=unlabelled_truth)
        self.validation = ClassifiedSubset(tested, range(len(tested)))


def value_rows(
    path: str, columns: Sequence[str], value: str, split: str = "train", *, data_files: DataFiles | None = None
) -> RawRows:
    """Rows of a split that Hugging Face ``datasets.load_dataset`` loads, with a column of numbers to predict.

    Args:
        path: ``"csv"``, ``"parquet"``, or the id of a data set on the hub.
        columns: names of the columns of features.
        value: name of the column of numbers; an empty cell is a row without one.
        split, data_files: as of :func:`~residual_ssl.data.table_rows`.

    Raises:
        MissingDataError, DataError: as there.
        ConfigError: a column that is not there, or a value that is no number.
    """
    source = f"dataset {path!r}, split {split!r}"
    table = load_table(path, split, {"data_files": data_files})
    lost = [column for column in (*columns, value) if column not in table.column_names]
    if lost:
        raise ConfigError(f"columns: {few(lost)} not in {source}; it has {few(table.column_names, 20)}")
    try:
        values = tuple(None if cell is None else float(cell) for cell in table[value])
    except (TypeError, ValueError) as error:
        raise ConfigError(f"value: column {value!r} of {source} holds {error}, expected numbers") from error
    return RawRows(table.select_columns(list(columns)).to_pandas(), values)
