"""What a pool consists of: shards, the unit of work, of image files, row groups of Parquet files, tar archives."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from residual_ssl.data.segmentation.listing import IMAGE_SUFFIXES
from residual_ssl.data.splits.lists import read_names
from residual_ssl.errors import MissingDataError

PARQUET, TAR, IMAGES, OWN = "parquet", "tar", "images", "own"
_SUFFIXES = {
    PARQUET: (".parquet",),
    TAR: (".tar", ".tar.gz", ".tgz"),
    IMAGES: IMAGE_SUFFIXES,
}
_LIST = ".txt"


class Shard(NamedTuple):
    """A part of a pool that is worked on as a whole.

    Attributes:
        kind: ``"images"``, ``"parquet"``, ``"tar"``, or ``"own"`` for samples of a data set of this library.
        source: the file, relative to the root of the pool; empty for image files and own samples.
        members: paths of image files relative to the root; numbers of the row groups of a Parquet file, all where
            none is named; first place and end of own samples; nothing of an archive, which is read as a whole.
    """

    kind: str
    source: str
    members: tuple[str | int, ...] = ()


def pool_root(entries: Sequence[str], root: str | Path | None = None) -> Path:
    """The folder that names of a pool are relative to: the one given, or the deepest that holds all entries.

    Raises:
        MissingDataError: a root that is not a folder, an entry that is not there.
    """
    if root is not None:
        if not Path(root).is_dir():
            raise MissingDataError(f"root: {root} is not a folder; give the one that names are relative to")
        return Path(os.path.abspath(root))
    return Path(os.path.commonpath([_place(entry) for entry in entries]))


def pool_shards(entries: Sequence[str], root: Path, size: int) -> Iterator[Shard]:
    """The shards of a pool, in the order of the entries and by name within each; every file once.

    Image files are taken together, ``size`` to a shard; row groups of a Parquet file until they have ``size`` rows; an
    archive is a shard. The names of image files are held in memory, some 200 bytes each.

    Args:
        entries: image files, Parquet files, tar archives; folders of them, at any depth; patterns with ``*``, ``?``,
            ``[…]``, ``**``; text files that list images, one a line, by paths below ``root``.
        root: names are relative to it.
        size: samples of a shard.

    Raises:
        MissingDataError: an entry that is not there or holds nothing of these kinds.
    """
    images: list[str] = []
    seen: set[str] = set()
    for entry in entries:
        for path in _files(entry, root):
            name = os.path.relpath(path, root)
            if name in seen:
                continue
            seen.add(name)
            kind = _kind(path)
            if kind == IMAGES:
                images.append(name)
                if len(images) == size:
                    yield Shard(IMAGES, "", tuple(images))
                    images = []
            elif kind == TAR:
                yield Shard(TAR, name)
            else:
                yield from _row_groups(path, name, size)
    if images:
        yield Shard(IMAGES, "", tuple(images))


def own_shards(samples: int, size: int) -> Iterator[Shard]:
    """Shards of a data set of so many samples."""
    for first in range(0, samples, size):
        yield Shard(OWN, "", (first, min(first + size, samples)))


def _row_groups(path: Path, name: str, size: int) -> Iterator[Shard]:
    import pyarrow
    from pyarrow import parquet

    try:
        metadata = parquet.read_metadata(path)
    except (pyarrow.ArrowException, OSError):  # said when it is the shard's turn, and all others are done
        yield Shard(PARQUET, name)
        return
    groups: list[int] = []
    rows = 0
    for group in range(metadata.num_row_groups):
        groups.append(group)
        rows += metadata.row_group(group).num_rows
        if rows >= size:
            yield Shard(PARQUET, name, tuple(groups))
            groups, rows = [], 0
    if groups:
        yield Shard(PARQUET, name, tuple(groups))


def _place(entry: str) -> str:
    path = Path(os.path.abspath(entry))
    if path.is_dir():
        return str(path)
    parts = path.parts
    if not path.exists():
        fixed = next((i for i, part in enumerate(parts) if glob.has_magic(part)), None)
        if fixed is None:
            raise MissingDataError(f"pool: {entry} is neither a file nor a folder, and no pattern with *, ? or [")
        return str(Path(*parts[:fixed]))
    return str(path.parent)


def _files(entry: str, root: Path) -> Iterator[Path]:
    path = Path(os.path.abspath(entry))
    if path.is_file() and path.suffix.lower() == _LIST:
        for name in sorted(read_names(path)):
            listed = root / name.split("\t")[0]
            if not listed.is_file():
                raise MissingDataError(f"pool: {entry} lists {name}, which is not below {root}; give --root FOLDER")
            yield listed
        return
    if path.is_file():
        if _kind(path) is None:
            raise MissingDataError(f"pool: {entry} {_EXPECTED}")
        yield path
        return
    found = 0
    for file in (
        _below(path) if path.is_dir() else map(Path, sorted(glob.iglob(os.path.abspath(entry), recursive=True)))
    ):
        if _kind(file) is not None and not file.name.startswith(".") and file.is_file():
            found += 1
            yield file
    if not found:
        raise MissingDataError(f"pool: {entry} {_EXPECTED}")


_EXPECTED = "holds nothing to predict, expected " + ", ".join(end for ends in _SUFFIXES.values() for end in ends)


def _below(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            yield Path(place, name)


def _kind(path: Path) -> str | None:
    name = path.name.lower()
    return next((kind for kind, ends in _SUFFIXES.items() if name.endswith(ends)), None)
