"""How many samples of each class: equal numbers, long tails, and draws of so many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from residual_ssl.data.splits.lists import few
from residual_ssl.errors import ConfigError


@dataclass(frozen=True)
class LongTail:
    """Numbers of samples that fall geometrically from class to class: ``N_k = N_1·γ^{-(k-1)/(K-1)}``, rounded down.

    Args:
        largest: N_1 ≥ 1, of the most frequent class.
        imbalance: γ > 0, the first class's number over the last one's; 1 for equal numbers. Below 1 the order is
            reversed, and the last class has the largest number.

    Raises:
        ConfigError: numbers out of range.

    Source: the long-tailed CIFAR of semi-supervised learning: DARP, arXiv 2007.08844, §4.1; CReST, arXiv 2102.09559.

    Example:
        >>> LongTail(1500, 100).counts(4), LongTail(1500, 0.01).counts(4)
        ([1500, 323, 69, 15], [15, 69, 323, 1500])
    """

    largest: int
    imbalance: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.largest, bool) or not isinstance(self.largest, int) or self.largest < 1:
            raise ConfigError(f"largest: got {self.largest!r}, expected a number of samples ≥ 1")
        if not self.imbalance > 0:
            raise ConfigError(f"imbalance: got {self.imbalance!r}, expected a ratio > 0; 1 for equal numbers")

    def counts(self, num_classes: int) -> list[int]:
        """Numbers of samples of K ≥ 2 classes."""
        ratio = max(self.imbalance, 1 / self.imbalance)
        # What is a whole number must not be rounded below it.
        falling = [int(self.largest * ratio ** (-k / (num_classes - 1)) + 1e-9) for k in range(num_classes)]
        return falling if self.imbalance >= 1 else falling[::-1]


def equal_counts(total: int, num_classes: int, seed: int) -> list[int]:
    """A total divided equally among classes; what is left over goes to classes drawn by the seed.

    Raises:
        ConfigError: fewer samples than classes.

    Example:
        >>> equal_counts(40, 10, seed=0), sum(equal_counts(13, 10, seed=0))
        ([4, 4, 4, 4, 4, 4, 4, 4, 4, 4], 13)
    """
    if isinstance(total, bool) or not isinstance(total, int) or total < num_classes:
        raise ConfigError(f"labelled: got {total!r}, expected at least one sample for each of {num_classes} classes")
    order = torch.randperm(num_classes, generator=torch.Generator().manual_seed(seed)).tolist()
    return [total // num_classes + (order[k] < total % num_classes) for k in range(num_classes)]


def shuffled_by_class(labels: Sequence[int | None], num_classes: int, seed: int) -> list[list[int]]:
    """Places of each class's samples in an order drawn by the seed: its first n are a draw of n, nested for all n.

    Example:
        >>> [sorted(places) for places in shuffled_by_class([1, 0, None, 1, -1], 2, seed=0)]
        [[1], [0, 3]]
    """
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed)).tolist()
    places: list[list[int]] = [[] for _ in range(num_classes)]
    for position in order:
        label = labels[position]
        if label is not None and label >= 0:
            places[label].append(position)
    return places


def first_of_each(
    places: Sequence[Sequence[int]], counts: Sequence[int], classes: Sequence[str], subset: str
) -> list[int]:
    """The first so many places of each class, one class after the other.

    Raises:
        ConfigError: a class with fewer; names it and ``subset``.

    Example:
        >>> first_of_each([[5, 7], [2, 9, 4]], [1, 2], ["cat", "dog"], "labelled")
        [5, 2, 9]
    """
    short = [
        f"{name} has {len(of_class)} of {count}"
        for of_class, count, name in zip(places, counts, classes, strict=True)
        if count > len(of_class)
    ]
    if short:
        raise ConfigError(f"{subset}: more samples asked for than there are: {few(short)}; ask for fewer")
    return [position for of_class, count in zip(places, counts, strict=True) for position in of_class[:count]]
