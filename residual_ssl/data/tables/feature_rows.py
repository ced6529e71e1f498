"""Rows of features for classification: tables, texts, whatever a scikit-learn transformer turns into numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from residual_ssl.data.classification.classification_split import ClassificationSplit
from residual_ssl.data.classification.classified import ClassifiedSample
from residual_ssl.data.splits.class_counts import LongTail
from residual_ssl.data.splits.lists import ListEntry
from residual_ssl.errors import ConfigError, DataError


class RawRows(NamedTuple):
    """Rows as they stand in a file.

    Attributes:
        inputs: what a scikit-learn transformer takes: an array ``(N, D)``, a table, N texts.
        labels: class id of each row; None where nothing is known, :data:`~residual_ssl.data.OUTSIDE` for rows of none
            of the classes. Of rows with a number to predict, the number.
    """

    inputs: Any
    labels: tuple[Any, ...]


def feature_split(
    classes: Sequence[str],
    read: Callable[..., RawRows],
    transform: Any,
    labelled: int | str | Path | LongTail,
    *,
    train: str = "train",
    validation: str | None = "validation",
    unlabelled: LongTail | None = None,
    labelled_in_pool: bool = False,
    unlabelled_truth: bool = True,
    seed: int = 0,
) -> ClassificationSplit:
    """A data set for semi-supervised classification of rows.

    Args:
        classes, labelled, unlabelled, labelled_in_pool, unlabelled_truth, seed: as of
            :class:`~residual_ssl.data.ClassificationSplit`.
        read: ``read(split=name)`` gives the rows of a split, as :func:`~residual_ssl.data.loaded_rows` and
            :func:`~residual_ssl.data.table_rows` do with their other arguments given.
        transform: scikit-learn transformer that makes numbers of the inputs, as ``StandardScaler()`` or
            ``TfidfVectorizer(max_features=300)``. A copy is fitted to the training rows, which needs none of their
            labels, and transforms both sets.
        train, validation: names of the splits; ``validation`` None where there is none.

    Raises:
        ConfigError: inputs that the transformer refuses.
        DataError: features that are not finite.

    Example:
        >>> from functools import partial
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.preprocessing import StandardScaler
        >>> from residual_ssl.data import loaded_rows
        >>> read = partial(loaded_rows, partial(load_iris, return_X_y=True))
        >>> split = feature_split(["a", "b", "c"], read, StandardScaler(), 9)
        >>> len(split.labelled), len(split.unlabelled), len(split.validation), split.labelled[0].image.shape
        (9, 104, 37, torch.Size([1, 4]))
    """
    known = read(split=train)
    held_out = None if validation is None else read(split=validation)
    sets = [(train, known.inputs)] + ([] if held_out is None else [(str(validation), held_out.inputs)])
    features, *further = feature_numbers(transform, sets)
    validated = further[0] if further else features[:0]
    return ClassificationSplit(
        classes,
        lambda: FeatureArrays(features, known.labels, train),
        lambda: FeatureArrays(validated, () if held_out is None else held_out.labels, str(validation)),
        labelled,
        unlabelled=unlabelled,
        labelled_in_pool=labelled_in_pool,
        unlabelled_truth=unlabelled_truth,
        seed=seed,
    )


class FeatureArrays:
    """Vectors that lie in memory, as :class:`~residual_ssl.data.ClassifiedSamples`.

    The ``image`` of a sample is its vector as float32 ``(1, D)``: one channel, and features for points.

    Args:
        features: floating ``(N, D)``.
        labels: class of each, as in :class:`~residual_ssl.data.ClassifiedSample`.
        name: samples are named ``NAME/000012``.

    Raises:
        ConfigError: another shape or kind of features, or another number of labels.

    Example:
        >>> rows = FeatureArrays(torch.zeros(2, 5), [1, None], "mine")
        >>> rows[0].image.shape, rows[0].label, rows[1].name
        (torch.Size([1, 5]), 1, 'mine/000001')
    """

    def __init__(self, features: Tensor, labels: Iterable[int | None], name: str) -> None:
        self.labels = tuple(labels)
        if not features.is_floating_point() or features.dim() != 2 or len(features) != len(self.labels):
            raise ConfigError(
                f"features: got {features.dtype} of shape {tuple(features.shape)} for {len(self.labels)} labels, "
                "expected floating (N, D) and N labels"
            )
        self._features = features.float().unsqueeze(1)
        self._name = name

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int, /) -> ClassifiedSample:
        return ClassifiedSample(self._features[index], self.labels[index], self.entry(index).image)

    def entry(self, index: int, /) -> ListEntry:
        return ListEntry(f"{self._name}/{index:06d}", None)


def feature_numbers(transform: Any, sets: Sequence[tuple[str, Any]]) -> list[Tensor]:
    """What a copy of a scikit-learn transformer, fitted to the first set, makes of each: float32 ``(N, D)``.

    Args:
        transform: not changed.
        sets: names and inputs.

    Raises:
        ConfigError: inputs that the transformer refuses.
        DataError: features that are not finite.
    """
    from sklearn.base import clone

    fitted = clone(transform)
    try:
        made = [fitted.fit_transform(sets[0][1]), *(fitted.transform(inputs) for _, inputs in sets[1:])]
    except (ValueError, TypeError) as error:
        raise ConfigError(f"transform: {fitted} refused the rows: {error}") from error
    return [_features(rows, name) for rows, (name, _) in zip(made, sets, strict=True)]


def _features(made: Any, name: str) -> Tensor:
    """What a transformer made, sparse or not, as float32 ``(N, D)``."""
    features = torch.as_tensor(made.toarray() if hasattr(made, "toarray") else made).float()
    bad = (~features.isfinite().flatten(1).all(1)).nonzero().flatten().tolist()
    if bad:
        raise DataError(
            f"{name}: {len(bad)} of {len(features)} rows have features that are not finite, the first is row {bad[0]}; "
            "fill empty cells, for example with transform=make_pipeline(SimpleImputer(), StandardScaler())"
        )
    return features
