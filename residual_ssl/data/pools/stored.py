"""Rows of a labelled pool by their place, read when asked for, in memory that does not grow with the pool."""

from __future__ import annotations

import bisect
import io
import os
from array import array
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, overload

import torch
from torch import Tensor

from residual_ssl.data.classification.classified import ClassifiedSample
from residual_ssl.data.images import read_image
from residual_ssl.data.pools.rows import mask_of
from residual_ssl.data.pools.summary import LABELS, ROWS_SUFFIX, PoolSummary
from residual_ssl.data.samples import Sample, StoredSample, check_same_size
from residual_ssl.data.splits.lists import ListEntry
from residual_ssl.errors import DataError

# Files that are open at a time: each holds its footer, some hundred kilobytes.
_OPEN = 32


class StoredRows:
    """The rows of all shards, by place: shard by shard in their order.

    In memory are a number for each shard, and what is known of the shards that are open. A sample costs the reading of
    its row group, half a megabyte at most.

    Args:
        summary: of the pool.
        images_root: folder that paths of images are relative to; None: the one that they were labelled in.

    Raises on reading:
        DataError: a shard that is not there any more, or is damaged.
    """

    def __init__(self, summary: PoolSummary, images_root: str | Path | None = None) -> None:
        self.summary = summary
        self.images_root = summary.root if images_root is None else Path(images_root)
        self._ends = list(accumulate(summary.rows))
        self._open: OrderedDict[int, tuple[Any, list[int]]] = OrderedDict()
        self._process = os.getpid()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def row(self, index: int, columns: Sequence[str]) -> dict[str, Any]:
        """Some columns of a row."""
        import pyarrow

        if not 0 <= index < len(self):
            raise IndexError(index)
        shard = bisect.bisect_right(self._ends, index)
        inner = index - (self._ends[shard - 1] if shard else 0)
        try:
            file, ends = self._file(shard)
            group = bisect.bisect_right(ends, inner)
            rows = file.read_row_group(group, columns=list(columns), use_threads=False)
            found: dict[str, Any] = rows.slice(inner - (ends[group - 1] if group else 0), 1).to_pylist()[0]
        except (pyarrow.ArrowException, OSError, IndexError) as error:
            raise DataError(
                f"{self._path(shard)}: row {inner} cannot be read, {error}; remove the file, and label the pool again"
            ) from error
        return found

    def column(self, name: str) -> Iterator[Any]:
        """A column of all rows, a shard at a time."""
        for shard in range(len(self._ends)):
            yield from self._file(shard)[0].read(columns=[name], use_threads=False).column(0).to_pylist()

    def image(self, row: dict[str, Any]) -> Tensor:
        """The image of a row with the columns ``id`` and ``image``, uint8 ``(3, H, W)``.

        Raises:
            DataError, MissingDataError: one that cannot be read.
        """
        cell, name = row["image"], row["id"]
        if cell["bytes"] is not None:
            return read_image(io.BytesIO(cell["bytes"]), name)
        return read_image(self.images_root / cell["path"])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict()}

    def _file(self, shard: int) -> tuple[Any, list[int]]:
        from pyarrow import parquet

        if self._process != os.getpid():  # a loading process does not share places in open files with its parent
            self._open, self._process = OrderedDict(), os.getpid()
        if shard not in self._open:
            file = parquet.ParquetFile(self._path(shard))
            groups = (file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups))
            self._open[shard] = (file, list(accumulate(groups)))
            if len(self._open) > _OPEN:
                self._open.popitem(last=False)[1][0].close()
        self._open.move_to_end(shard)
        return self._open[shard]

    def _path(self, shard: int) -> Path:
        return self.summary.folder / LABELS / f"{shard:06d}{ROWS_SUFFIX}"


class StoredMaps:
    """Images with maps of labels.

    Args:
        rows: of the pool.
        taught: the labels are masks to learn from, ``ignore_index`` where they weigh 0; False: they are stored labels
            of unlabelled samples.
        ignore_index: of masks.
    """

    def __init__(self, rows: StoredRows, *, taught: bool = False, ignore_index: int = 255) -> None:
        self._rows = rows
        self._taught = taught
        self._ignore_index = ignore_index

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int, /) -> Sample | StoredSample:
        row = self._rows.row(index, ("id", "image", "label", "weight"))
        image, (label, weight) = self._rows.image(row), self._maps(row)
        check_same_size(image, label, row["id"], "in the labelled pool")
        if self._taught:
            return Sample(image, self._mask(label, weight), row["id"])
        return StoredSample(image, label, weight, row["id"])

    def mask(self, index: int, /) -> Tensor | None:
        """The class ids of a sample, without reading its image; None where they are not taught."""
        return self._mask(*self._maps(self._rows.row(index, ("id", "label", "weight")))) if self._taught else None

    def pseudo_label(self, index: int, /) -> tuple[Tensor, Tensor] | None:
        """Class ids and weights of a stored sample, without reading its image; None where they are taught."""
        return None if self._taught else self._maps(self._rows.row(index, ("id", "label", "weight")))

    def entry(self, index: int, /) -> ListEntry:
        return ListEntry(self._rows.row(index, ("id",))["id"], None)

    def _mask(self, label: Tensor, weight: Tensor) -> Tensor:
        return label.where(weight > 0, self._ignore_index)

    def _maps(self, row: dict[str, Any]) -> tuple[Tensor, Tensor]:
        label, weight = (mask_of(row[name]["bytes"], row["id"]) for name in ("label", "weight"))
        return label, weight.to(torch.uint8)


class StoredClasses:
    """Images with a label each.

    Args:
        rows: of the pool.
        taught: only images whose label weighs more than 0, with it as their class; False: all, of unknown class, with
            stored labels. Taught ones are known beforehand, nine bytes an image.
    """

    def __init__(self, rows: StoredRows, *, taught: bool = False) -> None:
        self._rows = rows
        self._places: Sequence[int] = range(len(rows))
        self.labels: Sequence[int | None] = _Unknown(len(rows))
        if taught:
            labels = torch.tensor(list(rows.column("label")), dtype=torch.int16)
            places = torch.tensor(list(rows.column("weight")), dtype=torch.uint8).nonzero()[:, 0]
            self._places, self.labels = array("q", places.tolist()), _Known(labels[places])

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int, /) -> ClassifiedSample | StoredSample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        row = self._rows.row(self._places[index], ("id", "image", "label", "weight"))
        known = self.labels[index]
        if known is not None:
            return ClassifiedSample(self._rows.image(row), known, row["id"])
        weight = torch.tensor(row["weight"], dtype=torch.uint8)
        return StoredSample(self._rows.image(row), torch.tensor(row["label"]), weight, row["id"])

    def entry(self, index: int, /) -> ListEntry:
        return ListEntry(self._rows.row(self._places[index], ("id",))["id"], None)


class _Unknown(Sequence[int | None]):
    """So many unknown classes."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> int | None: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[int | None]: ...
    def __getitem__(self, index: int | slice) -> int | Sequence[int | None] | None:
        if isinstance(index, slice):
            return _Unknown(len(range(self._length)[index]))
        if not -self._length <= index < self._length:
            raise IndexError(index)
        return None


class _Known(Sequence[int | None]):
    """Classes as numbers of two bytes."""

    def __init__(self, labels: Tensor) -> None:
        self._labels = labels

    def __len__(self) -> int:
        return len(self._labels)

    @overload
    def __getitem__(self, index: int) -> int | None: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[int | None]: ...
    def __getitem__(self, index: int | slice) -> int | Sequence[int | None] | None:
        return _Known(self._labels[index]) if isinstance(index, slice) else int(self._labels[index])
