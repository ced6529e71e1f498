"""What is written of a labelled image: a row of a Parquet file, with the label, and weight and trust as bytes."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from residual_ssl.data.images import read_mask
from residual_ssl.errors import DataError

#: Key of a file's metadata with what is known of its shard, as JSON.
METADATA = b"residual_ssl"
# A row group is what reading one row costs.
_GROUP_ROWS, _GROUP_BYTES = 64, 2**19


class LabelledRow(NamedTuple):
    """A labelled image.

    Attributes:
        id: as of :class:`PoolImage`.
        image: path relative to the root, or the content of the file.
        label: int64 ``(H, W)``, or ``()`` of a whole image; on the CPU, as all of them.
        weight: uint8 of that shape, as of :func:`quantised`.
        trusted: bool of that shape.
        confidence: largest class probability, mean over the valid points.
        coverage: weights, mean over the valid points.
    """

    id: str
    image: str | bytes
    label: Tensor
    weight: Tensor
    trusted: Tensor
    confidence: float
    coverage: float


def quantised(weight: Tensor) -> Tensor:
    """Weights in [0, 1] as bytes: ``round(255·w)``, and 1 at least where w > 0.

    What comes back by :func:`weight_of` is off by 1/510 at most, below 1/510 by 1/255; 0 stays 0 and 1 stays 1.

    Example:
        >>> quantised(torch.tensor([0.0, 1e-9, 0.5, 1.0]))
        tensor([  0,   1, 128, 255], dtype=torch.uint8)
    """
    return torch.where(weight > 0, (255 * weight).round().clamp(min=1), 0.0).to(torch.uint8)


def weight_of(quantised: Tensor) -> Tensor:
    """Weights in [0, 1], float32, of bytes."""
    return quantised.float() / 255


def mask_bytes(values: Tensor) -> bytes:
    """A map ``(H, W)`` of bools, or of integers below 65536, as a PNG file of one channel."""
    if values.dtype == torch.bool:
        picture = Image.fromarray(values.numpy().astype(np.uint8) * 255).convert("1")
    else:
        deep = values.dtype != torch.uint8 and bool((values > 255).any())
        picture = Image.fromarray(values.numpy().astype(np.uint16 if deep else np.uint8))
    content = io.BytesIO()
    picture.save(content, format="PNG", compress_level=3)
    return content.getvalue()


def mask_of(content: bytes, name: str) -> Tensor:
    """The map of :func:`mask_bytes` as int64.

    Raises:
        DataError: no such file.
    """
    return read_mask(io.BytesIO(content), name).long()


class RowFile:
    """Writes the rows of a shard to an open file, a row group at a time.

    Args:
        file: open for writing.
        classes: names of the classes.
        dense: whether labels are maps.

    A context: left without an error, it ends the file, with :attr:`known` of the shard beside what the rows tell.
    """

    def __init__(self, file: IO[bytes], classes: Sequence[str], *, dense: bool) -> None:
        from pyarrow import parquet

        self._schema = row_schema(classes, dense=dense)
        self._writer: Any = parquet.ParquetWriter(file, self._schema)
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0
        self.known: dict[str, Any] = {}
        self.rows = 0
        self.confidence = 0.0
        self.coverage = 0.0
        self.label_counts: npt.NDArray[np.int64] = np.zeros(len(classes), np.int64)

    def add(self, row: LabelledRow) -> None:
        columns = _columns(row)
        self._rows.append(columns)
        self._bytes += sum(len(cell["bytes"] or b"") for cell in columns.values() if isinstance(cell, dict))
        self.rows += 1
        self.confidence += row.confidence
        self.coverage += row.coverage
        if row.label.dim():
            weighed = row.label[row.weight > 0]
            self.label_counts += torch.bincount(weighed, minlength=len(self.label_counts)).numpy()
        elif columns["weight"]:
            self.label_counts[columns["label"]] += 1
        if len(self._rows) >= _GROUP_ROWS or self._bytes >= _GROUP_BYTES:
            self._flush()

    def __enter__(self) -> RowFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, *fault: object) -> None:
        if kind is not None:
            self._writer.is_open = False  # else it writes once more when it is forgotten, into a file that is closed
            return
        try:
            self._end()
        except BaseException:
            self._writer.is_open = False
            raise

    def _end(self) -> None:
        self._flush()
        told = {
            "rows": self.rows,
            "confidence": self.confidence,
            "coverage": self.coverage,
            "label_counts": self.label_counts.tolist(),
            **self.known,
        }
        self._writer.add_key_value_metadata({METADATA: json.dumps(told).encode()})
        self._writer.close()

    def _flush(self) -> None:
        import pyarrow

        if self._rows:
            self._writer.write_table(pyarrow.Table.from_pylist(self._rows, schema=self._schema))
        self._rows, self._bytes = [], 0


def table_of_rows(rows: Sequence[LabelledRow], classes: Sequence[str], *, dense: bool) -> Any:
    """Rows as a ``pyarrow.Table``, of the same columns whatever the rows."""
    import pyarrow

    return pyarrow.Table.from_pylist([_columns(row) for row in rows], schema=row_schema(classes, dense=dense))


def _columns(row: LabelledRow) -> dict[str, Any]:
    content = row.image if isinstance(row.image, bytes) else None
    columns: dict[str, Any] = {"id": row.id, "image": {"bytes": content, "path": None if content else row.image}}
    for name in ("label", "weight", "trusted"):
        values = getattr(row, name)
        columns[name] = {"bytes": mask_bytes(values), "path": None} if values.dim() else values.item()
    return {**columns, "confidence": row.confidence, "coverage": row.coverage}


def row_schema(classes: Sequence[str], *, dense: bool) -> Any:
    """Columns of a labelled pool; Hugging Face ``datasets`` finds images and classes in it."""
    import pyarrow as pa

    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = [("id", pa.string()), ("image", picture)]
    features: dict[str, Any] = {"id": _value("string"), "image": {"_type": "Image"}}
    if dense:
        columns += [(name, picture) for name in ("label", "weight", "trusted")]
        features |= {name: {"_type": "Image"} for name in ("label", "weight", "trusted")}
    else:
        columns += [("label", pa.int64()), ("weight", pa.uint8()), ("trusted", pa.bool_())]
        features |= {"label": {"names": list(classes), "_type": "ClassLabel"}}
        features |= {"weight": _value("uint8"), "trusted": _value("bool")}
    columns += [("confidence", pa.float32()), ("coverage", pa.float32())]
    features |= {"confidence": _value("float32"), "coverage": _value("float32")}
    return pa.schema(columns, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def shard_facts(path: Path) -> dict[str, Any]:
    """What a file of rows says of its shard.

    Raises:
        DataError: no such file of this library.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        metadata = parquet.read_metadata(path).metadata or {}
        return json.loads(metadata[METADATA])  # type: ignore[no-any-return]
    except (pyarrow.ArrowException, OSError, KeyError, ValueError) as error:
        raise DataError(f"{path}: is no file of a labelled pool ({error}); remove it, and label it again") from error


def _value(dtype: str) -> dict[str, str]:
    return {"dtype": dtype, "_type": "Value"}
