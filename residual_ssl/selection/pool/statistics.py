"""Statistics of the predictions of a pool: of kilobytes, made part by part, and added up."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from residual_ssl.errors import DataError
from residual_ssl.selection.selector import Selector

# Edges of the bins of confidence: even up to 7/8, then 32 to each halving of 1 - c, down to that of float32.
_EVEN, _HALVINGS, _TO_A_HALVING = 224, 21, 32
_LEVELS = torch.arange(_HALVINGS * _TO_A_HALVING + 1, dtype=torch.float64) / _TO_A_HALVING
#: Edges ``(M + 1,)``, numbers of float32; a bin holds what is at least its lower edge and below its upper one, the last
#: all above, c = 1 among it.
EDGES = torch.cat([torch.arange(_EVEN, dtype=torch.float64) / 256, 1 - 2.0 ** (-3 - _LEVELS)]).float().double()
# Directions r/c of the points in the plane of the two features: 24 bins to each doubling.
_LEAST, _MOST, _TO_A_DOUBLING = -40, 10, 24
_DIRECTIONS = (_MOST - _LEAST) * _TO_A_DOUBLING + 1


@dataclass(frozen=True)
class PoolStatistics:
    """What selectors that judge a pool as a whole need to know of its predictions.

    Of K classes they take ``7168·K`` bytes and 58 kB, compressed a tenth of it, however many points they are of.

    Attributes:
        confidence: int64 ``(K, M)``, valid points by pseudo-label and bin of confidence (:data:`EDGES`).
        directions: float64 ``(D, 6)``, by the direction r/c of a point: number, and sums of c, r, c², c·r, r². The
            reliable cluster of the convex program ends at a direction, so that its moments follow from whole bins.
        spatial: whether there are several points to a sample.
    """

    confidence: Tensor
    directions: Tensor
    spatial: bool

    @property
    def points(self) -> int:
        """Number of valid points."""
        return int(self.confidence.sum())

    def __add__(self, other: PoolStatistics) -> PoolStatistics:
        return PoolStatistics(
            self.confidence + other.confidence, self.directions + other.directions, self.spatial or other.spatial
        )

    @classmethod
    def total(cls, parts: Iterable[PoolStatistics], num_classes: int) -> PoolStatistics:
        """The statistics of all parts together."""
        return reduce(cls.__add__, parts, cls.empty(num_classes))

    @classmethod
    def empty(cls, num_classes: int) -> PoolStatistics:
        """Of no points."""
        counts = torch.zeros(num_classes, len(EDGES) - 1, dtype=torch.int64)
        return cls(counts, torch.zeros(_DIRECTIONS, 6, dtype=torch.float64), False)

    def save(self, file: IO[bytes]) -> None:
        """Write them, compressed, to an open file."""
        content = io.BytesIO()  # archives are written back and forth, files of atomic_file need not be
        np.savez_compressed(
            content, confidence=self.confidence.numpy(), directions=self.directions.numpy(), spatial=self.spatial
        )
        file.write(content.getvalue())

    @classmethod
    def load(cls, path: Path | IO[bytes]) -> PoolStatistics:
        """Read what :meth:`save` wrote.

        Raises:
            DataError: no such file.
        """
        try:
            with np.load(path, allow_pickle=False) as found:
                parts = [torch.from_numpy(found[name]) for name in ("confidence", "directions")]
                return cls(parts[0], parts[1], bool(found["spatial"]))
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{path}: cannot be read, {error}; remove it, and it is made again") from error


@torch.no_grad()
def summarise(logits: Tensor, selector: Selector, valid: Tensor | None = None) -> PoolStatistics:
    """Statistics of some predictions; those of others are added to them.

    Args:
        logits: ``(B, K, *S)``.
        selector: that is to judge the pool: the features are as it judges by them.
        valid: bool ``(B, *S)``, or None for all points.

    Raises:
        InvalidInputError: logits or ``valid`` of another type, dtype or shape.

    Example:
        >>> from residual_ssl.selection import TopFraction
        >>> parts = [summarise(torch.randn(5, 3), TopFraction()) for _ in range(4)]
        >>> PoolStatistics.total(parts, 3).points
        20
    """
    points = selector.features(logits, valid)
    keep = points.valid.cpu()
    c, r = (x.cpu()[keep].double() for x in (points.confidence, points.residual))
    classes, bins = logits.shape[1], len(EDGES) - 1
    place = (torch.bucketize(c, EDGES, right=True) - 1).clamp(0, bins - 1)
    counts = torch.bincount(points.label.cpu()[keep] * bins + place, minlength=classes * bins)
    level = (torch.log2((r / c.clamp(min=1e-30)).clamp(min=2.0**_LEAST)) - _LEAST) * _TO_A_DOUBLING
    direction = level.floor().long().clamp(0, _DIRECTIONS - 1)
    values = torch.stack([torch.ones_like(c), c, r, c * c, c * r, r * r], 1)
    sums = torch.zeros(_DIRECTIONS, 6, dtype=torch.float64).index_add_(0, direction, values)
    return PoolStatistics(counts.view(classes, bins), sums, logits.dim() > 2)
