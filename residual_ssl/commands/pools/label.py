"""Label a pool of any size with a trained run: shard by shard, by any number of processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from residual_ssl.commands.pools.labeller import PoolLabeller, SkippedImage
from residual_ssl.commands.pools.passes import STATISTICS, ByProcesses, decide_for_pool, opened_pool
from residual_ssl.commands.pools.work import MaxErrors, cores, own_device
from residual_ssl.data.pools import LabelledRow, Manifest, PoolImage, RowFile, remove_left_behind, shard_facts
from residual_ssl.data.pools.summary import LABELS, ROWS_SUFFIX, SUMMARY
from residual_ssl.runtime.files import write_json

# Skipped images that the summary names; the count is of all.
_NAMED = 1000


@dataclass(frozen=True)
class LabelledPoolReport:
    """What a labelled pool holds.

    Attributes:
        folder: of it.
        images: labelled ones.
        skipped: those that could not be read.
        coverage: weights, mean over the images.
        confidence: mean over the images.
        label_counts: points of positive weight of each class, by name.
    """

    folder: Path
    images: int
    skipped: int
    coverage: float
    confidence: float
    label_counts: dict[str, int]

    def __str__(self) -> str:
        skipped = f", {self.skipped} images could not be read" if self.skipped else ""
        return (
            f"{self.images} images labelled{skipped}; coverage {self.coverage:.3f}, confidence {self.confidence:.3f}\n"
            f"{self.folder}"
        )


def label(
    run: str | Path,
    pool: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    selector: str | None = None,
    root: str | Path | None = None,
    image_column: str | None = None,
    images: Literal["auto", "keep", "refer"] = "auto",
    shard_size: int = 1000,
    batch: int = 16,
    threads: int | None = None,
    max_errors: int | None = 100,
    checkpoint_name: str = "best.pt",
    device: str = "auto",
    changes: Sequence[str] = (),
    config_dir: str | Path | None = None,
    engine: Literal["processes", "ray"] = "processes",
    progress: Callable[[str], Any] | None = None,
) -> LabelledPoolReport:
    """Label every image of a pool, and weigh every label; the result is training data (``pool=labelled``).

    The pool is worked on shard by shard: ``OUT/labels/000000.parquet`` holds the labels of the first. What is there is
    whole and stays; the same call does the rest, on any number of processes, whatever was killed. Processes started by
    torchrun, ``accelerate launch`` or srun divide the shards among them without knowing of each other; when any of them
    returns, all shards are done.

    A selector that compares points (``top_fraction``, ``cbst``, CSL of whole images …) judges the pool as a whole, in
    two passes: statistics of every shard first, kept in ``OUT/statistics``, then one decision, and the labels.

    Args:
        run: run directory or checkpoint file.
        pool: files, folders or patterns, see :func:`residual_ssl.data.pools.pool_shards`; ``"run:unlabelled"`` is the
            unlabelled set of the run itself.
        out: folder for the labels; made if needed.
        selector: ``"NAME"`` or ``"NAME:KEY=VALUE:…"``; None: the run's own, or CSL where that needs more than a
            prediction.
        root: folder that names of images are relative to; None: the deepest that holds the whole pool.
        image_column: of Parquet files; None: ``image``, or the only one that holds images.
        images: what is kept of an image: ``"keep"``, its file; ``"refer"``, a path, where it has a file of its own;
            ``"auto"``: paths of files, contents of what lies in Parquet files and archives.
        shard_size: image files, or at least so many rows of a Parquet file, that are worked on as a whole.
        batch: images predicted together.
        threads: that decode images; None: one a core, of those of this process.
        max_errors: images that may be unreadable before the work stops; None: any number.
        checkpoint_name, device, changes: as of :func:`residual_ssl.predict`; of several processes on a machine each
            takes a graphics card of its own.
        config_dir: folder with further selectors.
        engine: ``"processes"``: this one, and those that a launcher started beside it; ``"ray"``: actors of Ray, which
            starts them again when they die, on whatever machines the cluster has (``pip install 'residual-ssl[ray]'``).
        progress: is told how far the work is.

    Raises:
        MissingDataError, CheckpointError: no such run or pool.
        ConfigError: a selector that needs what there is not; a folder that holds a work of other settings.
        IncompleteError: shards that cannot be read; all others are done.
        DataError: more unreadable images than ``max_errors``.
        ResidualSSLError: labels that cannot be written; those that are there stay.
    """
    labeller = PoolLabeller(
        run,
        selector=selector,
        checkpoint_name=checkpoint_name,
        device=own_device(device) if engine == "processes" else "cpu",  # Ray's workers have their own
        changes=changes,
        batch=batch,
        threads=threads or cores(),
        config_dir=config_dir,
    )
    settings, shards, opened = opened_pool(labeller, pool, root, image_column, shard_size)
    settings |= {"work": "label", "selector": selector or repr(labeller.selector), "batch": batch, "images": images}
    manifest = Manifest.written(Path(out), settings, shards)
    errors = MaxErrors(max_errors)
    for number in range(len(manifest)):
        if (path := manifest.file(LABELS, number, ROWS_SUFFIX)).exists():
            errors.add([SkippedImage(**one) for one in shard_facts(path)["skipped"]], say=False)
    work: Callable[..., None] = ByProcesses(labeller, manifest, opened, progress)
    if engine == "ray":
        from residual_ssl.commands.pools.on_ray import OnRay

        options: dict[str, Any] = {"selector": selector, "batch": batch, "threads": threads, "config_dir": config_dir}
        options |= {"run": run, "checkpoint_name": checkpoint_name, "device": device, "changes": list(changes)}
        work = OnRay(manifest, options, progress)
    if labeller.two_passes and manifest.left(LABELS, ROWS_SUFFIX):
        decide_for_pool(labeller, manifest, work)
    work(LABELS, ROWS_SUFFIX, partial(label_shard, keep=images, root=settings["root"]), errors, "labelled")
    return _finished(manifest)


def label_shard(
    labeller: PoolLabeller,
    number: int,
    images: Iterator[PoolImage],
    skipped: list[SkippedImage],
    file: IO[bytes],
    *,
    keep: str,
    root: str,
) -> None:
    """Write the rows of a shard."""
    with RowFile(file, labeller.task.class_names, dense=labeller.dense) as rows:
        for row in labeller.label(images, skipped):
            rows.add(_kept(row, keep, Path(root)))
        rows.known = {"shard": number, "skipped": [one._asdict() for one in skipped]}


def _kept(row: LabelledRow, keep: str, root: Path) -> LabelledRow:
    """A row with the content of its image, or with its path relative to the root."""
    if isinstance(row.image, bytes):
        return row
    if keep == "keep":
        return row._replace(image=Path(row.image).read_bytes())
    return row._replace(image=os.path.relpath(row.image, root) if root.is_absolute() else row.image)


def _finished(manifest: Manifest) -> LabelledPoolReport:
    """Write what all shards together hold; every process writes the same."""
    facts = [shard_facts(manifest.file(LABELS, number, ROWS_SUFFIX)) for number in range(len(manifest))]
    remove_left_behind(manifest.folder)
    for stage in (LABELS, STATISTICS):
        remove_left_behind(manifest.folder / stage)
    images = sum(fact["rows"] for fact in facts)
    classes = manifest.settings["classes"]
    counts = np.sum([fact["label_counts"] for fact in facts] or [np.zeros(len(classes), int)], 0).tolist()
    skipped = [one for fact in facts for one in fact["skipped"]]
    report = LabelledPoolReport(
        manifest.folder,
        images,
        len(skipped),
        sum(fact["coverage"] for fact in facts) / max(1, images),
        sum(fact["confidence"] for fact in facts) / max(1, images),
        dict(zip(classes, counts, strict=True)),
    )
    write_json(
        manifest.folder / SUMMARY,
        {
            **{key: manifest.settings[key] for key in ("format", "run", "selector", "dense", "classes", "root")},
            "images": images,
            "coverage": report.coverage,
            "confidence": report.confidence,
            "label_counts": report.label_counts,
            "skipped": len(skipped),
            "skipped_images": skipped[:_NAMED],
            "rows": [fact["rows"] for fact in facts],
        },
    )
    return report
