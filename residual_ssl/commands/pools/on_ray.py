"""Work on the shards of a pool by actors of a Ray cluster, which grow, shrink and fail."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from residual_ssl.commands.pools.labeller import PoolLabeller, SkippedImage
from residual_ssl.commands.pools.own_pool import OWN, OwnPool
from residual_ssl.commands.pools.passes import STATISTICS, decide_by_files
from residual_ssl.commands.pools.work import Images, MaxErrors, check_all_read, files_of_pool, finish_shard
from residual_ssl.data.pools import Manifest, UnreadableShardError
from residual_ssl.errors import MissingPackageError, ResidualSSLError


class OnRay:
    """Does the stages of a work on Ray Data: each shard without a result is a row that an actor maps to one.

    Actors write the results themselves, as processes do, so that the end of the driver costs no more than the shards in
    flight. Ray starts actors again that die, repeats their shards, and takes as many actors as the cluster has graphics
    cards, or without cards one for each two cores.

    Args:
        manifest: of the work; its folder must be seen from all machines under the same path.
        options: of :class:`PoolLabeller`.
        progress: is told how far the work is; None: nobody is.

    Raises:
        MissingPackageError: Ray is not installed.
    """

    def __init__(self, manifest: Manifest, options: Mapping[str, Any], progress: Callable[[str], Any] | None) -> None:
        try:
            import ray.data
        except ImportError as error:
            raise MissingPackageError(
                "engine: ray needs Ray, which is not installed; pip install 'residual-ssl[ray]'"
            ) from error
        logging.getLogger("ray.data").setLevel(logging.ERROR)  # else its progress, many lines each ten seconds
        ray.data.DataContext.get_current().enable_progress_bars = False
        if not ray.is_initialized():
            ray.init(log_to_driver=False, logging_level=logging.ERROR)
        self._manifest = manifest
        places = {key: os.path.abspath(options[key]) for key in ("run", "config_dir") if options.get(key) is not None}
        self._options = {**options, **places}
        self._progress = progress

    def __call__(self, stage: str, suffix: str, make: Callable[..., None], errors: MaxErrors, done: str) -> None:
        import ray.data

        left = self._manifest.left(stage, suffix)
        if not left:
            return
        cards = int(ray.cluster_resources().get("GPU", 0))
        most = min(cards or max(1, int(ray.cluster_resources().get("CPU", 1)) // 2), len(left))
        folder = os.path.abspath(self._manifest.folder)
        results = ray.data.from_items(
            [{"number": number} for number in left], override_num_blocks=len(left)
        ).map_batches(
            ShardWorker,
            fn_constructor_args=(folder, stage, suffix, make, self._options),
            batch_size=1,
            batch_format="numpy",
            concurrency=(1, most) if most > 1 else 1,
            num_gpus=1 if cards else 0,
        )
        failed: dict[int, str] = {}
        for row in results.iter_rows():
            if row["fault"]:
                raise ResidualSSLError(str(row["fault"]))
            if row["unreadable"]:
                failed[int(row["number"])] = str(row["unreadable"])
            errors.add([SkippedImage(*one) for one in zip(row["skipped"], row["reasons"], strict=True)])
            if self._progress is not None:
                ready = len(self._manifest) - len(self._manifest.left(stage, suffix))
                self._progress(f"{ready} of {len(self._manifest)} shards {done}")
        check_all_read(self._manifest, stage, suffix, failed)


class ShardWorker:
    """An actor: a trained run that makes the results of shards.

    Args:
        folder: of the manifest.
        stage, suffix, make: as of :func:`finish_shard`; ``make`` takes the labeller first.
        options: of :class:`PoolLabeller`.

    ``__call__`` takes and gives columns of one row.
    """

    def __init__(
        self, folder: str, stage: str, suffix: str, make: Callable[..., None], options: Mapping[str, Any]
    ) -> None:
        self._manifest = Manifest(Path(folder))
        self._labeller = PoolLabeller(**{**options, "threads": options["threads"] or 2})
        if self._labeller.two_passes and stage != STATISTICS:
            decide_by_files(self._labeller, self._manifest)
        self._stage, self._suffix, self._make = stage, suffix, make

    def __call__(self, columns: Mapping[str, Any]) -> dict[str, list[Any]]:
        number = int(columns["number"][0])
        found: list[SkippedImage] = []
        told = {"fault": "", "unreadable": ""}

        def make(*arguments: Any) -> None:
            self._make(self._labeller, *arguments)
            found.extend(arguments[2])

        try:
            if not self._manifest.file(self._stage, number, self._suffix).exists():  # a task that Ray repeats
                finish_shard(
                    *(self._manifest, self._stage, self._suffix, number, self._images(), make, MaxErrors(None))
                )
        except UnreadableShardError as error:
            told["unreadable"] = str(error)
        except ResidualSSLError as error:  # Ray would give it a traceback of its own
            told["fault"] = str(error)
        return {
            "number": [number],
            **{name: [text] for name, text in told.items()},
            "skipped": [[one.id for one in found]],
            "reasons": [[one.reason for one in found]],
        }

    def _images(self) -> Images:
        settings = self._manifest.settings
        if settings["pool"] == [OWN]:
            return OwnPool(self._labeller.task)
        return files_of_pool(Path(settings["root"]), settings["image_column"])
