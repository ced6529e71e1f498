"""Samples out of the rows of a Hugging Face table, decoded when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO

from torch import Tensor

from residual_ssl.data.images import exif_orientation, read_image, read_mask
from residual_ssl.data.samples import Sample, check_same_size, check_upright
from residual_ssl.data.spec import DatasetSpec
from residual_ssl.data.splits.lists import ListEntry
from residual_ssl.errors import DataError


@dataclass(frozen=True)
class Row:
    """Where the image and the mask of a sample stand.

    Attributes:
        name: of the sample, unique in the data set.
        index: position in the tables.
        images, masks: ``datasets.Dataset`` of one column whose images are not decoded; ``masks`` None without a mask.
    """

    name: str
    index: int
    images: Any
    masks: Any | None

    # A name says all; tables are no keys.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Row) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def without_mask(self) -> Row:
        """The same sample, its mask left unread."""
        return Row(self.name, self.index, self.images, None)


class RowSamples:
    """Rows as samples; images become RGB, masks keep their ids.

    Args:
        rows: the samples, in order.
        spec: gives the masks' ids their meaning.
        outside: as of :meth:`DatasetSpec.encode`.

    Raises on reading:
        DataError, MissingDataError: a cell that holds no readable image, a mask of another size than its image or with
            colours instead of ids, ids outside the specification.
    """

    def __init__(self, rows: Sequence[Row], spec: DatasetSpec, *, outside: bool = False) -> None:
        self._rows = tuple(rows)
        self._spec = spec
        self._outside = outside

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int, /) -> Sample:
        row = self._rows[index]
        image = read_image(cell_file(row.images[row.index], row.name), row.name)
        mask = self.mask(index)
        check_same_size(image, mask, row.name, "in the same row")
        if mask is not None:
            orientation = exif_orientation(cell_file(row.images[row.index], row.name))
            check_upright(mask, orientation, row.name, "in the same row")
        return Sample(image, mask, row.name)

    def mask(self, index: int, /) -> Tensor | None:
        """The class ids of a sample, without reading its image; None where it has none."""
        row = self._rows[index]
        if row.masks is None:
            return None
        name = f"mask of {row.name}"
        raw = read_mask(cell_file(row.masks[row.index], name), name)
        return self._spec.encode(raw, name, outside=self._outside)

    def entry(self, index: int, /) -> ListEntry:
        """The line of a sample in a split list: its name alone."""
        return ListEntry(self._rows[index].name, None)


def cell_file(row: dict[str, dict[str, Any] | None], name: str) -> BinaryIO | str:
    """The file in the only cell of a row: its content where the table holds it, else its path."""
    (cell,) = row.values()
    if cell is None or (cell["bytes"] is None and cell["path"] is None):
        raise DataError(f"{name}: the cell is empty, expected an image; remove the row")
    return BytesIO(cell["bytes"]) if cell["bytes"] is not None else str(cell["path"])
