"""A semi-supervised segmentation dataset from Hugging Face ``datasets``: hub, Parquet files, image folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from residual_ssl.data.spec import DatasetSpec
from residual_ssl.data.splits.lists import check_disjoint, draw_labelled, few, read_list
from residual_ssl.data.tables.rows import Row, RowSamples
from residual_ssl.data.tables.table import DataFiles, image_column, load_table
from residual_ssl.errors import DataError


class HuggingFaceSegmentation:
    """A dataset that ``datasets.load_dataset`` loads, as a :class:`SegmentationSource`.

    Samples are named ``SPLIT/ROW``, as ``train/000012``. Masks are images of one channel, of class ids or of ids that
    ``spec.label_map`` translates; they are never converted to colours. A row whose mask is null is unlabelled.

    Args:
        path: id of a data set on the hub, ``"parquet"`` or ``"imagefolder"``.
        spec: classes and the meaning of the masks' ids.
        labelled: how many rows of ``train`` to draw as labelled, among those that have a mask; ``"all"`` of these; or
            a split list of their names. All other rows of ``train`` are unlabelled.
        train, validation: names of splits of the data set, or parts of them, as ``"train[:90%]"``; parts must not
            overlap, and nothing checks it. Every row of ``validation`` needs a mask; None where there is no such set.
        unlabelled: one more split for the unlabelled pool; it needs no mask column where ``data_files`` name its files.
            None for the rest of ``train`` alone.
        unlabelled_truth: load the masks of unlabelled rows where they exist, *for diagnostics only*.
        image, mask: names of the columns. For an image folder, ``mask`` is the column ``mask_file_name`` of its
            metadata.
        name, data_files, data_dir, revision: as of ``load_dataset``.
        seed: of the draw.

    Attributes ``spec``, ``labelled``, ``unlabelled``, ``validation``: see :class:`SegmentationSource`.

    Raises:
        MissingDataError: no such data set, files or split list.
        ConfigError: a column that is not there or holds no images; a labelled count outside 1 … N.
        DataError: a split that is not there, files that cannot be read as a table; rows without a mask in
            ``validation`` or among the listed; one split for two purposes.

    Example:
        >>> HuggingFaceSegmentation("parquet", DatasetSpec(["road", "car"]), 2, data_files="/nowhere/of.parquet")
        Traceback (most recent call last):
        residual_ssl.errors.MissingDataError: dataset 'parquet', split 'train': Unable to find '/nowhere/of.parquet'...
    """

    def __init__(
        self,
        path: str,
        spec: DatasetSpec,
        labelled: int | str | Path,
        *,
        train: str = "train",
        validation: str | None = "validation",
        unlabelled: str | None = None,
        unlabelled_truth: bool = False,
        image: str = "image",
        mask: str = "mask",
        name: str | None = None,
        data_files: DataFiles | None = None,
        data_dir: str | None = None,
        revision: str | None = None,
        seed: int = 0,
    ) -> None:
        splits = {"train": train, "validation": validation, "unlabelled": unlabelled}
        check_disjoint(
            [(purpose, [split]) for purpose, split in splits.items() if split is not None],
            fix="give each a split, or parts of one: train[:90%] and train[90%:]",
        )
        options = {"name": name, "data_files": data_files, "data_dir": data_dir, "revision": revision}
        self.spec = spec
        pool = _rows(path, train, options, image, mask)
        chosen = _choose(pool, labelled, seed)
        rest = [row for row in pool if row not in chosen]
        if unlabelled is not None:
            rest += _rows(path, unlabelled, options, image, mask if unlabelled_truth else None)
        self.labelled = RowSamples([row for row in pool if row in chosen], spec)
        pool_rows = rest if unlabelled_truth else [row.without_mask() for row in rest]
        self.unlabelled = RowSamples(pool_rows, spec, outside=True)
        held_out = [] if validation is None else _rows(path, validation, options, image, mask)
        _check_masks("validation", held_out)
        self.validation = RowSamples(held_out, spec)


def _rows(path: str, split: str, options: Mapping[str, Any], image: str, mask: str | None) -> list[Row]:
    """The rows of a split; ``mask`` None leaves masks unread."""
    table = load_table(path, split, options)
    source = f"dataset {path!r}, split {split!r}"
    columns = {
        column: image_column(table, argument, column, source)
        for argument, column in (("image", image), ("mask", mask))
        if column is not None
    }
    known = [False] * len(table) if mask is None else table.data.column(mask).is_valid().to_pylist()
    return [
        Row(f"{split}/{i:06d}", i, columns[image], columns[mask] if mask is not None and known[i] else None)
        for i in range(len(table))
    ]


def _choose(pool: Sequence[Row], labelled: int | str | Path, seed: int) -> set[Row]:
    named = {row.name: row for row in pool}
    with_mask = [row.name for row in pool if row.masks is not None]
    if labelled == "all":
        names = with_mask
    elif isinstance(labelled, (str, Path)):
        names = [entry.image for entry in read_list(labelled)]
        lost = [name for name in names if name not in named]
        if lost:
            raise DataError(f"{labelled}: no such rows: {few(lost)}; rows are named {pool[0].name} … {pool[-1].name}")
        _check_masks("labelled", [named[name] for name in names])
    else:
        names = draw_labelled(with_mask, labelled, seed)
    return {named[name] for name in names}


def _check_masks(subset: str, rows: Sequence[Row]) -> None:
    bare = [row.name for row in rows if row.masks is None]
    if bare:
        raise DataError(f"{len(bare)} of {len(rows)} {subset} rows have no mask: {few(bare)}; leave them out")
