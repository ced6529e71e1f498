"""The images of a shard one after the other, in memory that does not grow with the shard."""

from __future__ import annotations

import io
import os
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from residual_ssl.data.pools.shards import IMAGES, PARQUET, TAR, Shard
from residual_ssl.data.segmentation.listing import IMAGE_SUFFIXES
from residual_ssl.errors import ConfigError, DataError, InvalidInputError

_ROWS = 16
# An image of a tar archive that is larger is taken for a damaged header.
_LARGEST = 2**30


class PoolImage(NamedTuple):
    """An image of a pool, not decoded.

    Attributes:
        id: unique within the pool: path of the file below the root, ``FILE/ROW`` or ``ARCHIVE/MEMBER``.
        image: its file, or the content of one; None where the shard holds none, and ``fault`` says why.
        fault: what is wrong with it; empty where it may be opened.
    """

    id: str
    image: Path | bytes | None
    fault: str = ""

    def file(self) -> Path | BinaryIO:
        """What opens as a file.

        Raises:
            DataError: there is none.
        """
        if self.image is None:
            raise DataError(f"{self.id}: {self.fault}")
        return io.BytesIO(self.image) if isinstance(self.image, bytes) else self.image


class UnreadableShardError(DataError):
    """A shard that cannot be read to its end: a damaged Parquet file, an archive that was cut off."""


def shard_images(shard: Shard, root: Path, column: str | None = None) -> Iterator[PoolImage]:
    """The images of a shard in order.

    Args:
        shard: of image files, row groups or an archive.
        root: of the pool.
        column: of the images in Parquet files; None: the column ``image``, or the only one that holds some.

    Raises:
        UnreadableShardError: the shard ends in an error; what came before is not to be used.
        ConfigError: no such column.
    """
    if shard.kind == IMAGES:
        return (PoolImage(str(name), root / str(name)) for name in shard.members)
    if shard.kind == PARQUET:
        return _rows(shard, root, column)
    if shard.kind == TAR:
        return _members(shard, root)
    raise InvalidInputError(f"shard: got kind {shard.kind!r}, expected {IMAGES}, {PARQUET} or {TAR}")


def _rows(shard: Shard, root: Path, column: str | None) -> Iterator[PoolImage]:
    import pyarrow
    from pyarrow import parquet

    path = root / shard.source
    try:
        # Not prebuffered, so that a row group larger than memory streams through.
        with parquet.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as table:
            chosen = _image_column(table.schema_arrow, column, shard.source)
            groups = [int(number) for number in shard.members] or list(range(table.metadata.num_row_groups))
            number = sum(table.metadata.row_group(i).num_rows for i in range(groups[0])) if groups else 0
            for batch in table.iter_batches(_ROWS, row_groups=groups, columns=[chosen], use_threads=False):
                for cell in batch.column(0):
                    yield _cell(f"{shard.source}/{number:06d}", cell.as_py(), path.parent)
                    number += 1
    except ConfigError:
        raise
    except (pyarrow.ArrowException, OSError, IndexError) as error:
        raise UnreadableShardError(f"{shard.source}: {_first_line(error)}") from error


def _image_column(schema: Any, column: str | None, source: str) -> str:
    import pyarrow

    def holds_images(field: Any) -> bool:
        kind = field.type
        if pyarrow.types.is_struct(kind):
            return {"bytes", "path"} <= {kind.field(i).name for i in range(kind.num_fields)}
        return bool(pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind))

    fitting = [field.name for field in schema if holds_images(field)]
    wanted = column or ("image" if "image" in fitting or len(fitting) != 1 else fitting[0])
    if wanted not in fitting:
        raise ConfigError(
            f"image column: got {wanted!r} for {source}, expected one of {', '.join(fitting) or 'none in this file'}; "
            "a column of images is binary, or a struct of bytes and path"
        )
    return wanted


def _cell(name: str, cell: Any, folder: Path) -> PoolImage:
    if isinstance(cell, dict):
        if cell["bytes"] is None and cell["path"]:
            return PoolImage(name, Path(os.path.abspath(folder / cell["path"])))
        cell = cell["bytes"]
    if cell is None:
        return PoolImage(name, None, "the cell is empty, expected an image")
    return PoolImage(name, bytes(cell))


def _members(shard: Shard, root: Path) -> Iterator[PoolImage]:
    seen: set[str] = set()
    try:
        _check_end(root / shard.source, shard.source)
        with tarfile.open(root / shard.source, "r|*") as archive:
            for member in archive:
                if not (member.isfile() and member.name.lower().endswith(IMAGE_SUFFIXES)):
                    continue
                name = f"{shard.source}/{member.name.removeprefix('./')}"
                if name in seen:
                    continue  # an archive that was added to holds both, and extracting it keeps one
                seen.add(name)
                if member.size > _LARGEST:
                    yield PoolImage(name, None, f"{member.size} bytes, expected an image of at most {_LARGEST}")
                    continue
                opened = archive.extractfile(member)
                content = b"" if opened is None else opened.read()
                if len(content) < member.size:
                    raise UnreadableShardError(f"{shard.source}: ends within {member.name}; restore it")
                yield PoolImage(name, content)
    except UnreadableShardError:
        raise
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise UnreadableShardError(f"{shard.source}: {_first_line(error)}; restore it") from error


def _check_end(path: Path, name: str) -> None:
    """Refuse an archive that was cut off between two members, which reading does not notice; packed ones do it."""
    if path.suffix.lower() != ".tar":
        return
    with path.open("rb") as file:
        file.seek(-min(512, path.stat().st_size), os.SEEK_END)
        if any(file.read()):
            raise UnreadableShardError(f"{name}: has no end, it was cut off; restore it")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
