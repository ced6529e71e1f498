"""A dataset for semi-supervised classification: who is labelled is drawn by class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from residual_ssl.data.classification.classified import ClassifiedSamples, ClassifiedSubset, JoinedSamples
from residual_ssl.data.spec import OUTSIDE
from residual_ssl.data.splits.class_counts import LongTail, equal_counts, first_of_each, shuffled_by_class
from residual_ssl.data.splits.lists import check_disjoint, few, read_list
from residual_ssl.errors import ConfigError, DataError

Read = Callable[[], ClassifiedSamples]
_STRANGERS = ("error", "leave_out", "unlabelled")


class ClassificationSplit:
    """A :class:`ClassificationSource` of a training and a validation set, of which some training samples are labelled.

    Args:
        classes: names of the K classes.
        train, validation: read the samples of a set, each called once.
        labelled: how many of the training samples are labelled: a total, as many of each class; a :class:`LongTail`;
            ``"all"``; or a split list of their names. Drawn by the seed; with one seed, a smaller draw is part of every
            larger one.
        unlabelled: a :class:`LongTail` of how many of the others are in the unlabelled pool; None for all of them.
        pool: reads further samples for the unlabelled pool, as the 100,000 unlabelled images of STL-10.
        labelled_in_pool: whether the labelled samples are in the unlabelled pool as well, as in FixMatch and USB.
        unlabelled_truth: keep known classes of unlabelled samples, *for diagnostics only*.
        strangers: samples known to be of none of the classes: ``"error"``; ``"leave_out"``; or ``"unlabelled"``, those
            for training are put in the unlabelled pool, which they contaminate.
        seed: of the draw.

    Attributes ``classes``, ``labelled``, ``unlabelled``, ``validation``: see :class:`ClassificationSource`.

    Raises:
        ConfigError: an unknown choice, more samples of a class than there are.
        DataError: samples of other classes, where they are an error; labelled or validation samples without a class;
            one name in training and validation.

    Example:
        >>> from functools import partial
        >>> from residual_ssl.data import HandwrittenDigits
        >>> train, validation = (partial(HandwrittenDigits, split) for split in ("train", "validation"))
        >>> split = ClassificationSplit([str(i) for i in range(10)], train, validation, labelled=40)
        >>> len(split.labelled), len(split.unlabelled), len(split.validation)
        (40, 1360, 397)
    """

    def __init__(
        self,
        classes: Sequence[str],
        train: Read,
        validation: Read,
        labelled: int | str | Path | LongTail,
        *,
        unlabelled: LongTail | None = None,
        pool: Read | None = None,
        labelled_in_pool: bool = False,
        unlabelled_truth: bool = True,
        strangers: Literal["error", "leave_out", "unlabelled"] = "error",
        seed: int = 0,
    ) -> None:
        if strangers not in _STRANGERS:
            raise ConfigError(f"strangers: got {strangers!r}, expected one of {', '.join(_STRANGERS)}")
        self.classes = tuple(classes)
        samples, held_out = train(), validation()
        if strangers == "error":
            _check_known("train", samples, self.classes)
            _check_known("validation", held_out, self.classes)
        places = shuffled_by_class(samples.labels, len(self.classes), seed)
        chosen = _labelled(samples, labelled, places, self.classes, seed)
        taken = set(chosen)
        if unlabelled is None:
            left_out = OUTSIDE if strangers != "unlabelled" else len(self.classes)
            rest = [i for i, label in enumerate(samples.labels) if i not in taken and label != left_out]
        else:
            not_labelled = [[i for i in indices if i not in taken] for indices in places]
            rest = first_of_each(not_labelled, unlabelled.counts(len(self.classes)), self.classes, "unlabelled")
            if strangers == "unlabelled":
                rest += [i for i, label in enumerate(samples.labels) if label == OUTSIDE]
        if labelled_in_pool:
            rest += chosen
        self.labelled = ClassifiedSubset(samples, sorted(chosen))
        self.unlabelled: ClassifiedSamples = ClassifiedSubset(samples, sorted(rest), labels=unlabelled_truth)
        if pool is not None:
            further = pool()
            shown = ClassifiedSubset(further, range(len(further)), labels=unlabelled_truth)
            self.unlabelled = JoinedSamples([self.unlabelled, shown])
        indices = [i for i, label in enumerate(held_out.labels) if label != OUTSIDE]
        self.validation = ClassifiedSubset(held_out, indices)
        _check_classed("validation", self.validation)
        check_disjoint(
            [(name, _names(part)) for name, part in (("train", samples), ("validation", self.validation))],
            fix="give each a split, or parts of one: train[:90%] and train[90%:]",
        )


def _labelled(
    samples: ClassifiedSamples,
    labelled: int | str | Path | LongTail,
    places: Sequence[Sequence[int]],
    classes: Sequence[str],
    seed: int,
) -> list[int]:
    if labelled == "all":
        return [index for of_class in places for index in of_class]
    if isinstance(labelled, (str, Path)):
        position = {name: index for index, name in enumerate(_names(samples))}
        names = [entry.image for entry in read_list(labelled)]
        lost = [name for name in names if name not in position]
        if lost:
            raise DataError(f"{labelled}: no such samples: {few(lost)}; they are named {few(list(position), 2)}")
        chosen = [position[name] for name in names]
        _check_classed("labelled", ClassifiedSubset(samples, chosen))
        return chosen
    counts = labelled.counts(len(classes)) if isinstance(labelled, LongTail) else None
    return first_of_each(places, counts or equal_counts(labelled, len(classes), seed), classes, "labelled")  # type: ignore[arg-type]


def _names(samples: ClassifiedSamples) -> list[str]:
    return [samples.entry(i).image for i in range(len(samples))]


def _check_known(subset: str, samples: ClassifiedSamples, classes: Sequence[str]) -> None:
    strange = [samples.entry(i).image for i, label in enumerate(samples.labels) if label == OUTSIDE]
    if strange:
        raise DataError(
            f"{len(strange)} samples of {subset} are of none of the classes {few(list(classes))}: {few(strange)}; "
            "name their classes, or set strangers to leave_out or unlabelled"
        )


def _check_classed(subset: str, samples: ClassifiedSamples) -> None:
    bare = [samples.entry(i).image for i, label in enumerate(samples.labels) if label is None or label < 0]
    if bare:
        raise DataError(f"{len(bare)} of {len(samples)} {subset} samples have no class: {few(bare)}; leave them out")
