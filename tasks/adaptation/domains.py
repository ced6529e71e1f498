"""Two domains as one data set: the labels of the source, the images of the target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch

from residual_ssl.data import Sample, Samples
from residual_ssl.errors import ConfigError, DataError


class Spec(Protocol):
    """What a data set says of its classes."""

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def ignore_index(self) -> int: ...


class Source(Protocol):
    """A data set of any task, as :class:`~residual_ssl.data.SegmentationSource` is one of segmentation."""

    @property
    def spec(self) -> Any: ...

    @property
    def labelled(self) -> Any: ...

    @property
    def unlabelled(self) -> Any: ...

    @property
    def validation(self) -> Any: ...


class DomainPair:
    """Unsupervised domain adaptation as a data set for semi-supervised learning.

    Labelled are the source's labelled samples; unlabelled and for validation are the target's. Target samples that have
    a label to learn from are left out: the pair knows no label of the target.

    Args:
        target: called once, gives the data set of the domain to be good at.
        source: called once, gives the data set of the domain with labels, of the same classes in the same order. None
            for adaptation without it, from a network trained there: the labelled samples are then the target's
            unlabelled ones, with no point labelled, so that a supervised loss of them is 0. For segmentation.

    Raises:
        ConfigError: domains of different classes.
        DataError: a source without labelled samples, a target without unlabelled ones.

    Example:
        >>> from functools import partial
        >>> from residual_ssl.tasks.segmentation import DigitScenes
        >>> scenes = partial(DigitScenes, labelled=2, unlabelled=3, validation=1)
        >>> pair = DomainPair(target=scenes, source=partial(scenes, digits="printed"))
        >>> len(pair.labelled), len(pair.unlabelled), len(pair.validation)
        (2, 3, 1)
    """

    def __init__(self, target: Callable[[], Source], source: Callable[[], Source] | None = None) -> None:
        goal = target()
        self.spec = goal.spec
        self.unlabelled = goal.unlabelled
        self.validation = goal.validation
        if not len(self.unlabelled):
            raise DataError("target: has no unlabelled samples, expected the images to adapt to; label fewer or none")
        if source is None:
            self.labelled: Any = WithoutLabels(goal.unlabelled, goal.spec.ignore_index)
            return
        origin = source()
        _check_classes(origin.spec, goal.spec)
        self.labelled = origin.labelled
        if not len(self.labelled):
            raise DataError("source: has no labelled samples, expected those to learn from; set labelled=all")


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


def _check_classes(source: Spec, target: Spec) -> None:
    if tuple(source.classes) != tuple(target.classes):
        pairs = zip((*source.classes, "nothing"), (*target.classes, "nothing"), strict=False)
        place, (of_source, of_target) = next((i, pair) for i, pair in enumerate(pairs) if pair[0] != pair[1])
        raise ConfigError(
            f"source: has {len(source.classes)} classes and the target {len(target.classes)}, which first differ at "
            f"id {place}, {of_source} and {of_target}; expected the same classes in the same order: map the ids of "
            "one to those of the other, and what only one of them has to its ignore_index"
        )
