"""Two domains as one data set: the labels of the source, the images of the target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch

from residual_ssl.data import DatasetSpec, Sample, Samples
from residual_ssl.errors import ConfigError, DataError


class Domain(Protocol):
    """A data set of any task: a ``SegmentationSource``, a ``ClassificationSource`` (:mod:`residual_ssl.data`)."""

    @property
    def labelled(self) -> Any: ...

    @property
    def unlabelled(self) -> Any: ...

    @property
    def validation(self) -> Any: ...


class DomainPair:
    """Unsupervised domain adaptation as a data set for semi-supervised learning.

    Labelled are the source's labelled samples; unlabelled and for validation are the target's. Target samples that have
    a label to learn from are left out: the pair knows no label of the target but those to measure on.

    Args:
        target: called once, gives the data set of the domain to be good at.
        source: called once, gives the data set of the domain with labels, of the same classes in the same order. None
            for source-free adaptation of a segmentation network that was trained there: the labelled samples are then
            the target's unlabelled ones with no point labelled, so that a supervised loss on them is 0.

    Attributes ``classes``, ``labelled``, ``unlabelled``, ``validation``, and ``spec`` where the target has one.

    Raises:
        ConfigError: domains of different classes; no source for a target without a ``spec``.
        DataError: a source without labelled samples, a target without unlabelled ones.

    Example:
        >>> from functools import partial
        >>> from residual_ssl.tasks.segmentation import DigitScenes
        >>> scenes = partial(DigitScenes, labelled=2, unlabelled=3, validation=1)
        >>> pair = DomainPair(target=scenes, source=partial(scenes, digits="printed"))
        >>> len(pair.labelled), len(pair.unlabelled), len(pair.validation)
        (2, 3, 1)
    """

    def __init__(self, target: Callable[[], Domain], source: Callable[[], Domain] | None = None) -> None:
        self._target = target()
        self.classes = _classes(self._target)
        self.unlabelled = self._target.unlabelled
        self.validation = self._target.validation
        if not len(self.unlabelled):
            raise DataError("target: has no unlabelled samples, expected those to adapt to; label fewer, or none")
        if source is None:
            if not hasattr(self._target, "spec"):
                raise ConfigError("source: got none; adaptation without a source is for segmentation")
            self.labelled: Any = WithoutLabels(self.unlabelled, self.spec.ignore_index)
            return
        origin = source()
        _check_same(_classes(origin), self.classes)
        self.labelled = origin.labelled
        if not len(self.labelled):
            raise DataError("source: has no labelled samples, expected those to learn from; set its labelled to all")

    @property
    def spec(self) -> DatasetSpec:
        """The target's classes, colours and ignore index, in segmentation."""
        return self._target.spec  # type: ignore[attr-defined, no-any-return]


class WithoutLabels:
    """Samples of segmentation of which no point is labelled.

    Args:
        samples: images, with masks or without.
        ignore_index: what all masks hold.
    """

    def __init__(self, samples: Samples, ignore_index: int) -> None:
        self._samples = samples
        self._ignore_index = ignore_index

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int, /) -> Sample:
        sample = self._samples[index]
        mask = torch.full(sample.image.shape[1:], self._ignore_index, dtype=torch.int64)
        return sample._replace(mask=mask)


def _classes(domain: Any) -> tuple[str, ...]:
    return tuple(domain.spec.classes if hasattr(domain, "spec") else domain.classes)


def _check_same(source: tuple[str, ...], target: tuple[str, ...]) -> None:
    if source != target:
        index = next((i for i, (a, b) in enumerate(zip(source, target, strict=False)) if a != b), None)
        differ = "" if index is None else f", the first to differ being {source[index]!r} and {target[index]!r}"
        raise ConfigError(
            f"source: has {len(source)} classes and the target {len(target)}{differ}; expected the same in the same "
            "order: map the ids of one to those of the other, and what one of them lacks to its ignore_index"
        )
