"""Split lists made of a source's training images: which are labelled, and which are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from tqdm import tqdm

from residual_ssl.data.classification.classification_split import ClassificationSplit
from residual_ssl.data.samples import ListedSamples, SegmentationSource
from residual_ssl.data.splits.class_counts import equal_counts, first_of_each, shuffled_by_class
from residual_ssl.data.splits.covering import draw_covering
from residual_ssl.data.splits.lists import ListEntry
from residual_ssl.errors import ConfigError, DataError
from residual_ssl.runtime.progress import hidden

_LISTS = ("labeled.txt", "unlabeled.txt")


@dataclass(frozen=True)
class SplitReport:
    """What :func:`make_split` did.

    Attributes:
        out: folder of ``labeled.txt`` and ``unlabeled.txt``.
        labelled, unlabelled: images in the two lists.
        without_mask: those of the unlabelled that have no mask, and could not be drawn.
        classes: names of the classes.
        available, drawn: for each class, the images that hold it: of all that have a mask, and of the labelled.
    """

    out: Path
    labelled: int
    unlabelled: int
    without_mask: int
    classes: tuple[str, ...]
    available: tuple[int, ...]
    drawn: tuple[int, ...]

    def __str__(self) -> str:
        lost = [name for name, of, got in zip(self.classes, self.available, self.drawn, strict=True) if of and not got]
        absent = [name for name, of in zip(self.classes, self.available, strict=True) if not of]
        width = max(map(len, self.classes))
        rows = zip(self.classes, self.drawn, self.available, strict=True)
        return "\n".join(
            [
                f"{'class':<{width}}  labelled images  of",
                *(f"{name:<{width}}  {got:>15}  {of}" for name, got, of in rows),
                f"labelled    {self.labelled} images, {self.out / _LISTS[0]}",
                f"unlabelled  {self.unlabelled} images, {self.out / _LISTS[1]}; {self.without_mask} have no mask",
                *([f"without a labelled image: {', '.join(lost)}; label more images"] if lost else []),
                *([f"in no training mask: {', '.join(absent)}"] if absent else []),
            ]
        )


def make_split(
    source: SegmentationSource | ClassificationSplit, labelled: int, out: str | Path, *, seed: int = 0
) -> SplitReport:
    """Divide the training images of a source, and write the two lists, ``image mask`` a line.

    For segmentation by :func:`draw_covering`: the masks of all training images are read, their images are not. For
    classification as many of each class. Images without a mask or a class go to the unlabelled list, alone in their
    line.

    Args:
        source: with every training image that has a mask in ``labelled`` (:class:`ImageFolders` with
            ``labelled="all"``), and those without one in ``unlabelled``. Constructing it checks that none is for
            validation too.
        labelled: images to draw.
        out: folder for ``labeled.txt`` and ``unlabeled.txt``; made if needed.
        seed: of the draw.

    Raises:
        ConfigError: ``out`` holds such lists already; a count outside 1 … the number of images with masks; a source
            whose samples no list can name.
        DataError: a mask that cannot be read or has ids outside the specification; names that no list can hold.

    Source: the list format of U2PL and UniMatch.
    """
    folder = Path(out)
    existing = [name for name in _LISTS if (folder / name).exists()]
    if existing:
        raise ConfigError(f"out: {folder} holds {' and '.join(existing)} already; give another folder, or remove them")
    if not hasattr(source.labelled, "entry"):
        raise ConfigError(f"dataset: no list can name the samples of {type(source).__name__}; it draws its own")
    if isinstance(source, ClassificationSplit):
        return _write(source, source.classes, *_drawn_by_class(source, labelled, seed), folder)
    return _write(source, source.spec.classes, *_drawn_by_mask(source, labelled, seed), folder)


def _drawn_by_class(source: ClassificationSplit, labelled: int, seed: int) -> tuple[list[int], list[frozenset[int]]]:
    """Places of the drawn samples, and the class of all."""
    labels = source.labelled.labels
    counts = equal_counts(labelled, len(source.classes), seed)
    places = shuffled_by_class(labels, len(source.classes), seed)
    drawn = first_of_each(places, counts, source.classes, "labelled")
    return sorted(drawn), [frozenset() if label is None else frozenset({label}) for label in labels]


def _drawn_by_mask(source: Any, labelled: int, seed: int) -> tuple[list[int], list[frozenset[int]]]:
    """Places of the drawn images, and the classes that each of all images holds."""
    pool = cast(ListedSamples, source.labelled)
    present = [
        _classes(pool, i, source.spec.ignore_index) for i in tqdm(range(len(pool)), "masks", disable=hidden(None))
    ]
    return draw_covering(present, labelled, seed), present


def _write(
    source: Any, classes: tuple[str, ...], drawn: Sequence[int], present: Sequence[frozenset[int]], folder: Path
) -> SplitReport:
    pool, bare = source.labelled, source.unlabelled
    chosen = set(drawn)
    first = [pool.entry(i) for i in drawn]
    second = [pool.entry(i) for i in range(len(pool)) if i not in chosen]
    second += [ListEntry(bare.entry(i).image, None) for i in range(len(bare))]
    texts = [_text(entries) for entries in (first, second)]
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in zip(_LISTS, texts, strict=True):
        (folder / name).write_text(text, encoding="utf-8")
    return SplitReport(
        folder,
        len(first),
        len(second),
        len(bare),
        classes,
        tuple(sum(label in labels for labels in present) for label in range(len(classes))),
        tuple(sum(label in present[i] for i in drawn) for label in range(len(classes))),
    )


def _classes(samples: ListedSamples, index: int, ignore_index: int) -> frozenset[int]:
    mask = samples.mask(index)
    return frozenset() if mask is None else frozenset(torch.unique(mask).tolist()) - {ignore_index}


def _text(entries: list[ListEntry]) -> str:
    lines = []
    for image, mask in entries:
        parts = (image,) if mask is None else (image, mask)
        spaced = any(character.isspace() for part in parts for character in part)
        if spaced and (mask is None or any(character in "\t\n\r" for part in parts for character in part)):
            raise DataError(
                f"{image!r}: a list cannot hold this name (spaces and no mask, tab or line break); rename it"
            )
        lines.append(("\t" if spaced else " ").join(parts))
    return "".join(f"{line}\n" for line in lines)
