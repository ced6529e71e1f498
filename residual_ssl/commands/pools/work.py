"""Work on the shards of a pool by any number of processes, which may come, go and be killed."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from residual_ssl.commands.pools.labeller import SkippedImage
from residual_ssl.data.pools import (
    Manifest,
    PoolImage,
    Shard,
    UnreadableShardError,
    own_then_others,
    shard_images,
)
from residual_ssl.errors import ConfigError, DataError, IncompleteError, ResidualSSLError, ResidualSSLWarning
from residual_ssl.runtime.files import atomic_file

_LISTED = 20

#: Opens the images of a shard.
Images = Callable[[Shard], Iterator[PoolImage]]
#: Writes the result of a shard to an open file, and takes what could not be read.
Make = Callable[[int, Iterator[PoolImage], list[SkippedImage], IO[bytes]], None]


def process_of_all() -> tuple[int, int]:
    """Rank and world size: of torchrun and accelerate, or of srun; (0, 1) for a process alone.

    Example:
        >>> process_of_all()
        (0, 1)
    """
    for rank, size in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS")):
        if rank in os.environ and size in os.environ:
            return int(os.environ[rank]), int(os.environ[size])
    return 0, 1


def own_device(device: str) -> str:
    """The device of this process: of several on a machine each takes its own graphics card."""
    local = os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID"))
    if device != "auto" or local is None:
        return device
    import torch

    count = torch.cuda.device_count()
    return f"cuda:{int(local) % count}" if count else "cpu"


def cores() -> int:
    """Cores for each of the processes that a launcher has started on this machine."""
    return max(1, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


class MaxErrors:
    """Images that could not be read, and how many may be.

    Args:
        limit: the largest number; None for any.

    Attributes:
        count: of them so far, by this process and before it.
    """

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.count = 0

    def add(self, skipped: Sequence[SkippedImage], *, say: bool = True) -> None:
        """Count some more.

        Warns:
            ResidualSSLWarning: of each.

        Raises:
            DataError: more than the limit.
        """
        for one in skipped if say else ():
            warnings.warn(ResidualSSLWarning(f"image left out: {one.id}: {one.reason}"), stacklevel=2)
        self.count += len(skipped)
        if skipped and self.limit is not None and self.count > self.limit:
            raise DataError(
                f"max_errors: {self.count} images cannot be read, expected at most {self.limit}; the last one: "
                f"{skipped[-1].id}: {skipped[-1].reason}. Finished shards are kept; mend the pool, or raise "
                "--max-errors"
            )


def finish_shard(
    manifest: Manifest, stage: str, suffix: str, number: int, images: Images, make: Make, errors: MaxErrors
) -> None:
    """Make the result of a shard: beside its place, brought to the disk, moved there. So what is there is whole.

    Raises:
        UnreadableShardError: the shard cannot be read.
        DataError: too many images that cannot be read.
        ResidualSSLError: the result cannot be written: the disk is full.
    """
    path = manifest.file(stage, number, suffix)
    skipped: list[SkippedImage] = []
    try:
        with atomic_file(path, "result") as file:
            make(number, images(manifest.shard(number)), skipped, file)
            # Before the file is in its place: a call that stops here stops again, until more are allowed.
            errors.add(skipped)
    except (UnreadableShardError, ConfigError):
        raise
    except ResidualSSLError:
        if not path.exists():  # another process was there first, and cleaned up
            raise


def work_through(
    manifest: Manifest,
    stage: str,
    suffix: str,
    images: Images,
    make: Make,
    *,
    errors: MaxErrors,
    process: int,
    processes: int,
    progress: Callable[[int], Any] = lambda number: None,
) -> None:
    """Make the results that are not there: this process's share, then what others have left.

    Whatever is killed, the same call by any number of processes makes the rest. When it returns, all results are there.

    Args:
        manifest: of the work.
        stage: folder of the results below that of the manifest.
        suffix: of their files.
        images, make: what is done to a shard: of the shard alone, so that any process gets the same.
        errors: counts what could not be read.
        process, processes: rank and world size.
        progress: called after each shard with its number.

    Raises:
        IncompleteError: shards that cannot be read; all others are done.
        DataError, ResidualSSLError: as :func:`finish_shard`.
    """
    failed: dict[int, str] = {}
    for number in own_then_others(manifest, stage, suffix, process, processes):
        try:
            finish_shard(manifest, stage, suffix, number, images, make, errors)
        except UnreadableShardError as error:
            failed[number] = str(error)
            continue
        progress(number)
    check_all_read(manifest, stage, suffix, failed)


def check_all_read(manifest: Manifest, stage: str, suffix: str, failed: Mapping[int, str]) -> None:
    """Refuse to go on without the shards that could not be read, by their numbers with the reasons.

    Raises:
        IncompleteError: some have no result.
    """
    left = [number for number in failed if not manifest.file(stage, number, suffix).exists()]
    if left:
        listed = [failed[number] for number in left[:_LISTED]]
        more = [f"… and {len(left) - _LISTED} more"] if len(left) > _LISTED else []
        raise IncompleteError(
            "\n".join(
                [
                    f"{len(left)} of {len(manifest)} shards of the pool cannot be read; all others are done, and the "
                    "same command does these when they are mended",
                    *listed,
                    *more,
                ]
            )
        )


def files_of_pool(root: Path, column: str | None) -> Images:
    """Opens shards of files below a root."""
    return lambda shard: shard_images(shard, root, column)
