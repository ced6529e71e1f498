"""What goes through a pool has in common: its settings and shards, and the first of two passes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

from residual_ssl.commands.pools.labeller import PoolLabeller, SkippedImage
from residual_ssl.commands.pools.own_pool import OWN, OwnPool
from residual_ssl.commands.pools.work import Images, MaxErrors, files_of_pool, work_through
from residual_ssl.data.pools import Manifest, PoolImage, Shard, own_shards, pool_root, pool_shards
from residual_ssl.selection.pool import PoolStatistics

_FORMAT = 1
#: Folder of the statistics of shards.
STATISTICS = "statistics"
_SUFFIX = ".npz"


def opened_pool(
    labeller: PoolLabeller,
    pool: str | Path | Sequence[str | Path],
    root: str | Path | None,
    image_column: str | None,
    shard_size: int,
) -> tuple[dict[str, Any], Callable[[], Iterator[Shard]], Images]:
    """Settings of a work on a pool, its shards, and what opens one."""
    entries = [str(entry) for entry in ([pool] if isinstance(pool, str | Path) else pool)]
    trained = labeller.trained
    settings: dict[str, Any] = {
        "format": _FORMAT,
        "run": os.path.abspath(trained.path),
        "weights": _digest(trained.path),
        "dense": labeller.dense,
        "classes": list(labeller.task.class_names),
        "shard_size": shard_size,
    }
    if entries == [OWN]:
        own = OwnPool(labeller.task)
        return settings | {"pool": entries, "root": ""}, partial(own_shards, len(own), shard_size), own
    place = pool_root(entries, root)
    settings |= {"pool": [os.path.abspath(entry) for entry in entries], "root": str(place)}
    settings |= {"image_column": image_column}
    return settings, partial(pool_shards, entries, place, shard_size), files_of_pool(place, image_column)


def decide_for_pool(
    labeller: PoolLabeller,
    manifest: Manifest,
    images: Images,
    progress: Callable[[str], Any],
    *,
    process: int,
    processes: int,
) -> None:
    """Make statistics of all shards, and let the selector of the labeller decide by them.

    Raises:
        As :func:`work_through`.
    """
    work_through(
        *(manifest, STATISTICS, _SUFFIX, images, partial(_summarise, labeller)),
        errors=MaxErrors(None),  # the second pass meets the same images, and counts them
        process=process,
        processes=processes,
        progress=told(progress, manifest, STATISTICS, _SUFFIX, "summarised"),
    )
    files = (manifest.file(STATISTICS, number, _SUFFIX) for number in range(len(manifest)))
    labeller.decide(PoolStatistics.total(map(PoolStatistics.load, files), labeller.task.num_classes))


def told(
    progress: Callable[[str], Any], manifest: Manifest, stage: str, suffix: str, done: str
) -> Callable[[int], None]:
    """What tells how many shards of a stage are done."""

    def tell(number: int) -> None:
        left = len(manifest.left(stage, suffix))
        progress(f"{len(manifest) - left} of {len(manifest)} shards {done}")

    return tell


def _summarise(
    labeller: PoolLabeller, number: int, images: Iterator[PoolImage], skipped: list[SkippedImage], file: IO[bytes]
) -> None:
    labeller.summarise(images, skipped).save(file)
    skipped.clear()  # unsaid here


def _digest(path: Path) -> str:
    """Of the checkpoint: labels of two networks must not meet in one folder."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
