"""Images with classes from Hugging Face ``datasets``: hub, Parquet files, image folders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from residual_ssl.data.classification.classified import ClassifiedSample
from residual_ssl.data.images import read_image
from residual_ssl.data.splits.lists import ListEntry
from residual_ssl.data.tables.rows import cell_file
from residual_ssl.data.tables.table import DataFiles, class_column, image_column, load_table


class HuggingFaceImages:
    """A split of a dataset that ``datasets.load_dataset`` loads, as :class:`ClassifiedSamples`; images become RGB.

    Samples are named ``SPLIT/ROW``, as ``train/000012``.

    Args:
        path: id of a data set on the hub, ``"parquet"`` or ``"imagefolder"``.
        classes: names of the classes, in the order of their ids. Where the data set has names, labels are found by
            them; else its ids are those of the classes.
        split: name of a split, or a part of it, as ``"train[:90%]"``; None for no samples, as of a validation set that
            does not exist.
        image, label: names of the columns; ``label`` None where there is none. Null labels are unknown.
        name, data_files, data_dir, revision: as of ``load_dataset``.

    Raises:
        MissingDataError: no such data set or files.
        ConfigError: a column that is not there or holds something else; classes that the data set does not have.
        DataError: a split that is not there, files that cannot be read; when a sample is read, an image that cannot.

    Example:
        >>> HuggingFaceImages("parquet", ["cat", "dog"], data_files="/nowhere/of.parquet")
        Traceback (most recent call last):
        residual_ssl.errors.MissingDataError: dataset 'parquet', split 'train': Unable to find '/nowhere/of.parquet'...
    """

    def __init__(
        self,
        path: str,
        classes: Sequence[str],
        split: str | None = "train",
        *,
        image: str = "image",
        label: str | None = "label",
        name: str | None = None,
        data_files: DataFiles | None = None,
        data_dir: str | None = None,
        revision: str | None = None,
    ) -> None:
        self._split = split
        self._images: Any = ()
        self.labels: tuple[int | None, ...] = ()
        if split is None:
            return
        source = f"dataset {path!r}, split {split!r}"
        options = {"name": name, "data_files": data_files, "data_dir": data_dir, "revision": revision}
        table = load_table(path, split, options)
        self._images = image_column(table, "image", image, source)
        self.labels = (None,) * len(table)
        if label is not None:
            self.labels = class_column(table, label, classes, source)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int, /) -> ClassifiedSample:
        name = self.entry(index).image
        return ClassifiedSample(read_image(cell_file(self._images[index], name), name), self.labels[index], name)

    def entry(self, index: int, /) -> ListEntry:
        return ListEntry(f"{self._split}/{index:06d}", None)
