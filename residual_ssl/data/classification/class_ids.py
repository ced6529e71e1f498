"""What the labels of a data set mean: names, numbers or truth values as ids of the wanted classes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from residual_ssl.data.spec import OUTSIDE
from residual_ssl.data.splits.lists import few
from residual_ssl.data.splits.spellings import composed
from residual_ssl.errors import ConfigError, ResidualSSLWarning


def class_ids(
    raw: Sequence[int | str | None], classes: Sequence[str], names: Sequence[str] | None, source: str
) -> tuple[int | None, ...]:
    """Class ids of the labels that a dataset holds; the wanted classes decide what a number means.

    Where the classes are themselves numbers, "1", "2", "3", a label 1 is of the class "1". Where they are words,
    numbers are ids, 0 … K-1. Truth values are the classes "False" and "True".

    Args:
        raw: a label of each sample: a name; a number; a truth value; None or a number below 0 where there is none.
        classes: names of the wanted classes, in the order of their ids.
        names: what the ids of the dataset mean; None where they are the wanted ones already.
        source: names the dataset in messages.

    Returns:
        Ids in ``classes``; :data:`OUTSIDE` for classes that are not among them, None without a label.

    Raises:
        ConfigError: wanted classes that the dataset does not have, or that are no names; numbers in the dataset for
            classes of which some are numbers and some words; truth values for other classes.

    Example:
        >>> class_ids([0, 2, -1, 1], ["dog", "cat"], ["cat", "car", "dog"], "pets")
        (1, 0, None, -1)
        >>> class_ids([1, 3, 2], ["3", "2", "1"], None, "levels")
        (2, 0, 1)
    """
    _check_names(classes)
    raw = [label.item() if isinstance(label, np.generic) else label for label in raw]
    # Names that look alike are one.
    raw = [composed(label) if isinstance(label, str) else label for label in raw]
    classes = [composed(name) for name in classes]
    names = None if names is None else [composed(name) for name in names]
    wanted = {name: index for index, name in enumerate(classes)}
    spoken = names is None and any(isinstance(label, str) for label in raw)
    if names is None and not spoken:
        raw = _named_by_classes(raw, classes, source)
    if spoken:
        names = sorted({label for label in raw if isinstance(label, str)})
    if names is not None:
        strange = [name for name in classes if name not in names]
        if strange:
            near = {_plain(name): name for name in names}
            meant = [f"{name!r} is {near[_plain(name)]!r} there" for name in strange if _plain(name) in near]
            raise ConfigError(
                f"classes: {few(strange)} not among those of {source}, which are {few(list(names), 20)}; name them "
                f"as it does{f' ({few(meant)})' if meant else ''}"
            )

    _warn_of_spellings(names or (), classes, source)

    def meaning(label: int | str | None) -> int | None:
        if label is None or (not isinstance(label, str) and label < 0):
            return None
        if isinstance(label, str):
            return wanted.get(label, OUTSIDE)
        if names is not None:
            if label >= len(names):
                raise ConfigError(f"labels: got id {label} in {source}, which names {len(names)} classes")
            return wanted.get(names[label], OUTSIDE)
        return int(label) if label < len(classes) else OUTSIDE

    known = {label: meaning(label) for label in set(raw)}
    return tuple(known[label] for label in raw)


def _warn_of_spellings(names: Sequence[str], classes: Sequence[str], source: str) -> None:
    """Say where the dataset spells one class in two ways, of which one alone is wanted."""
    wanted = {_plain(name): name for name in classes}
    strange = [name for name in names if name not in classes and _plain(name) in wanted]
    if strange:
        meant = [f"{name!r} beside {wanted[_plain(name)]!r}" for name in strange]
        warnings.warn(
            ResidualSSLWarning(
                f"classes: {source} has {few(meant)}; the former are taken for other classes: join them"
            ),
            stacklevel=3,
        )


def _check_names(classes: Sequence[str]) -> None:
    for name in classes:
        if isinstance(name, bool):
            raise ConfigError(
                f"classes: got {name!r}, expected names; YAML reads no, yes, off, on, false and true as truth values "
                'unless they are quoted: "no", "yes"'
            )
        if not isinstance(name, str):
            raise ConfigError(f"classes: got {name!r}, expected names, strings; quote it, as '{name}'")


def _named_by_classes(
    raw: Sequence[int | str | None], classes: Sequence[str], source: str
) -> Sequence[int | str | None]:
    """Numbers and truth values as names, where the classes are such; as they are where numbers are ids."""
    if any(isinstance(label, bool) for label in raw):
        spelled = {_plain(name): name for name in classes}
        if not {"false", "true"} & set(spelled):
            raise ConfigError(
                f"classes: got {few(list(classes))} for {source}, whose labels are truth values; name the classes "
                "False and True"
            )
        return [label if label is None else spelled.get(str(label).lower(), str(label)) for label in raw]
    if not any(isinstance(label, int) and label >= 0 for label in raw):
        return raw
    numbers = [name for name in classes if name.strip().lstrip("-").isdecimal()]
    if not numbers:
        _check_ids(raw, classes, source)
        return raw
    if len(numbers) < len(classes):
        words = [name for name in classes if name not in numbers]
        raise ConfigError(
            f"classes: got the numbers {few(numbers)} and the words {few(words)} for {source}, whose labels are "
            "numbers: are these names or ids? Name all classes by numbers, or all by words in the order of their ids"
        )
    spelled = {str(int(name)): name for name in classes}
    if len(spelled) < len(classes):
        raise ConfigError(f"classes: got {few(list(classes))}, of which some are the same number; name each once")
    named = [None if label is None else spelled.get(str(label), str(label)) for label in raw]
    # A number below 0 that is no class marks a sample without a label.
    return [label if label in classes or label is None or not label.startswith("-") else None for label in named]


def _check_ids(raw: Sequence[int | str | None], classes: Sequence[str], source: str) -> None:
    """Refuse numbers that are likely not the ids 0 … K-1 of classes named by words."""
    found = {label for label in raw if isinstance(label, int) and label >= 0}
    if len(classes) in found and 0 not in found:
        raise ConfigError(
            f"labels: {source} has the numbers {min(found)} … {max(found)} and no 0, for the {len(classes)} classes "
            f"{few(list(classes))}; are they counted from 1? Name the classes by these numbers, or subtract 1"
        )
    if [_plain(name) for name in classes] in (["true", "false"], ["yes", "no"]) and found <= {0, 1}:
        raise ConfigError(
            f"classes: got {few(list(classes))} for {source}, whose labels are 0 and 1; class 0 would be "
            f"{classes[0]!r}. Give the classes in the order of their ids, or name them 0 and 1"
        )


def _plain(name: str) -> str:
    return name.strip().lower()
