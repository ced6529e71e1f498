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
from residual_ssl.commands.pools.work import Images, MaxErrors, files_of_pool, process_of_all, work_through
from residual_ssl.data.pools import Manifest, PoolImage, Shard, own_shards, pool_root, pool_shards
from residual_ssl.errors import ConfigError
from residual_ssl.selection.pool import PoolStatistics

_FORMAT = 1
#: Folder of the statistics of shards.
STATISTICS = "statistics"
SUFFIX = ".npz"


def opened_pool(
    labeller: PoolLabeller,
    pool: str | Path | Sequence[str | Path],
    root: str | Path | None,
    image_column: str | None,
    shard_size: int,
) -> tuple[dict[str, Any], Callable[[], Iterator[Shard]], Images]:
    """Settings of a work on a pool, its shards, and what opens one.

    Raises:
        ConfigError, MissingDataError: no pool, or one that is not there.
    """
    entries = [str(entry) for entry in ([pool] if isinstance(pool, str | Path) else pool)]
    if not entries:
        raise ConfigError("pool: got none, expected files, folders, patterns or run:unlabelled")
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
        settings |= {"pool": entries, "root": "", "image_column": None}
        return settings, partial(own_shards, len(own), shard_size), own
    place = pool_root(entries, root)
    settings |= {"pool": [os.path.abspath(entry) for entry in entries], "root": str(place)}
    settings |= {"image_column": image_column}
    return settings, partial(pool_shards, entries, place, shard_size), files_of_pool(place, image_column)


def decide_for_pool(labeller: PoolLabeller, manifest: Manifest, work: Callable[..., None]) -> None:
    """Make statistics of all shards, and let the selector of the labeller decide by them.

    Args:
        labeller: of this process.
        manifest: of the work.
        work: ``work(stage, suffix, make, MaxErrors, done)`` makes the results of a stage.

    Raises:
        As :func:`work_through`.
    """
    # Errors are not counted: the second pass meets the same images.
    work(STATISTICS, SUFFIX, summarise_shard, MaxErrors(None), "summarised")
    decide_by_files(labeller, manifest)


def decide_by_files(labeller: PoolLabeller, manifest: Manifest) -> None:
    """Let the selector of a labeller decide by the statistics of all shards, which are there."""
    files = (manifest.file(STATISTICS, number, SUFFIX) for number in range(len(manifest)))
    labeller.decide(PoolStatistics.total(map(PoolStatistics.load, files), labeller.task.num_classes))


class ByProcesses:
    """Does the stages of a work in this process, which may be one of several.

    Args:
        labeller, manifest, images: of the work.
        progress: is told how far the work is; None: nobody is.
    """

    def __init__(
        self, labeller: PoolLabeller, manifest: Manifest, images: Images, progress: Callable[[str], Any] | None
    ) -> None:
        self._labeller = labeller
        self._manifest = manifest
        self._images = images
        self._progress = progress
        self._process, self._processes = process_of_all()

    def __call__(self, stage: str, suffix: str, make: Callable[..., None], errors: MaxErrors, done: str) -> None:
        def tell(number: int) -> None:
            if self._progress is None:
                return
            left = len(self._manifest.left(stage, suffix))
            self._progress(f"{len(self._manifest) - left} of {len(self._manifest)} shards {done}")

        work_through(
            *(self._manifest, stage, suffix, self._images, partial(make, self._labeller)),
            errors=errors,
            process=self._process,
            processes=self._processes,
            progress=tell,
        )


def summarise_shard(
    labeller: PoolLabeller, number: int, images: Iterator[PoolImage], skipped: list[SkippedImage], file: IO[bytes]
) -> None:
    """Write the statistics of a shard."""
    labeller.summarise(images, skipped).save(file)
    skipped.clear()  # unsaid here


def _digest(path: Path) -> str:
    """Of the checkpoint: labels of two networks must not meet in one folder."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
