"""Where rows of features come from: scikit-learn's data sets and generators, CSV and Parquet files, the hub."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from residual_ssl.data.splits.lists import few
from residual_ssl.data.tables.feature_rows import RawRows
from residual_ssl.data.tables.table import DataFiles, class_column, load_table
from residual_ssl.errors import ConfigError


def loaded_rows(load: Callable[[], tuple[Any, Any]], split: str = "train") -> RawRows:
    """Three quarters of what a function loads, for training, or the other quarter; the same for every seed of a run.

    Args:
        load: gives inputs and class ids, as ``partial(load_digits, return_X_y=True)`` and ``partial(make_moons, 500,
            random_state=0)`` of ``sklearn.datasets`` do.
        split: ``"train"`` or ``"validation"``.

    Raises:
        ConfigError: another split.

    Example:
        >>> from functools import partial
        >>> from sklearn.datasets import make_moons
        >>> rows = loaded_rows(partial(make_moons, 100, random_state=0), "validation")
        >>> rows.inputs.shape, rows.labels[:3]
        ((25, 2), (1, 0, 0))
    """
    if split not in ("train", "validation"):
        raise ConfigError(f"split: got {split!r}, expected train or validation")
    inputs, labels = (np.asarray(column) for column in load())
    order = np.random.default_rng(0).permutation(len(labels))
    order = order[len(order) // 4 :] if split == "train" else order[: len(order) // 4]
    return RawRows(inputs[order], tuple(labels[order].tolist()))


def table_rows(
    path: str,
    classes: Sequence[str],
    columns: str | Sequence[str],
    split: str = "train",
    *,
    label: str | None = "label",
    name: str | None = None,
    data_files: DataFiles | None = None,
    data_dir: str | None = None,
    revision: str | None = None,
) -> RawRows:
    """Rows of a split that Hugging Face ``datasets.load_dataset`` loads: CSV, Parquet, the hub.

    Args:
        path: ``"csv"``, ``"parquet"``, or the id of a data set on the hub.
        classes: names of the classes, in the order of their ids; labels are names or ids.
        columns: names of the columns of features, which come as a pandas table; or of one column, of texts.
        split: name of a split, or a part of it, as ``"train[:90%]"``.
        label: name of the column of classes, None where there is none. An empty cell is a row without a label.
        name, data_files, data_dir, revision: as of ``load_dataset``.

    Raises:
        MissingDataError, DataError: as :func:`~residual_ssl.data.tables.table.load_table`.
        ConfigError: a column that is not there; a class that the data set does not have.
    """
    source = f"dataset {path!r}, split {split!r}"
    options = {"name": name, "data_files": data_files, "data_dir": data_dir, "revision": revision}
    table = load_table(path, split, options)
    wanted = [columns] if isinstance(columns, str) else list(columns)
    lost = [column for column in wanted if column not in table.column_names]
    if lost or not wanted:
        raise ConfigError(
            f"columns: got {few(wanted)}, of which {few(lost) or 'none'} are not in {source}; it has "
            f"{few(table.column_names, 20)}"
        )
    labels: tuple[int | None, ...] = (None,) * len(table)
    if label is not None:
        labels = class_column(table, label, classes, source)
    frame = table.select_columns(wanted).to_pandas()
    return RawRows(frame[columns] if isinstance(columns, str) else frame, labels)


def make_texts(
    documents: int = 1000, topics: int = 5, words: int = 12, clarity: float = 0.15, seed: int = 0
) -> tuple[list[str], list[int]]:
    """Generated texts: words of a language that does not exist, some of them more frequent in one topic than in others.

    The frequency of words falls as in real texts (Zipf). Each word of a document is drawn from its topic's own
    distribution with probability ``clarity``, else from the one that all topics share.

    Args:
        documents: number of texts, ≥ 1.
        topics: number of classes, ≥ 2.
        words: mean number of words of a text.
        clarity: in (0, 1], how much a text tells about its topic.
        seed: of the draw.

    Returns:
        The texts, and the topic of each.

    Example:
        >>> texts, topics = make_texts(documents=2, words=4)
        >>> len(texts), topics
        (2, [1, 2])
    """
    rng = np.random.default_rng(seed)
    syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    vocabulary = np.array(["".join(rng.choice(syllables, 2 + i % 2)) for i in range(1000)])
    zipf = 1 / np.arange(1, 1001)
    zipf /= zipf.sum()
    topic_words = [zipf[rng.permutation(1000)] for _ in range(topics)]
    labels = rng.integers(topics, size=documents)
    texts = []
    for topic in labels:
        frequency = clarity * topic_words[topic] + (1 - clarity) * zipf
        texts.append(" ".join(rng.choice(vocabulary, 1 + rng.poisson(words - 1), p=frequency)))
    return texts, labels.tolist()
