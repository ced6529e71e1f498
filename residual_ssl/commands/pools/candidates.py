"""Images of a pool that a person may label next: a bounded number of each shard, made part by part and merged."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from residual_ssl.errors import DataError

#: Images kept of each class beside the most unreliable ones: those that show most of it.
OF_A_CLASS = 8

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Candidates:
    """Images with what is known of them.

    Attributes:
        ids: N names.
        shard: shard that each is of.
        unreliability: in [0, 1], one minus the mean of weight times confidence over the valid points.
        confidence: mean over the valid points.
        classes: ``(N, K)``, share of the points predicted as each class.
        features: ``(N, D)``, what describes the image.
        pool_classes: ``(K,)``, the sum of ``classes`` over *all* images looked at.
        images: number of all images looked at.
    """

    ids: npt.NDArray[np.str_]
    shard: npt.NDArray[np.int64]
    unreliability: Floats
    confidence: Floats
    classes: Floats
    features: Floats
    pool_classes: npt.NDArray[np.float64]
    images: int

    def __len__(self) -> int:
        return len(self.ids)

    def best(self, count: int) -> Candidates:
        """The most unreliable ones, and of each class some that show most of it."""
        order = np.lexsort((self.ids, -self.unreliability))
        kept = set(order[:count].tolist())
        for column in self.classes.T:
            shown = [i for i in np.lexsort((self.ids, -column))[:OF_A_CLASS].tolist() if column[i] > 0]
            kept.update(shown)
        return self.taken([i for i in order.tolist() if i in kept])

    def taken(self, places: Iterable[int]) -> Candidates:
        """Some of them, in that order."""
        index = np.asarray(list(places), np.int64)
        per_image = {name: getattr(self, name)[index] for name in _PER_IMAGE}
        return Candidates(**per_image, pool_classes=self.pool_classes, images=self.images)

    @classmethod
    def together(cls, parts: Iterable[Candidates], count: int) -> Candidates:
        """The best of all parts; whatever their number, in memory for some ``count``."""
        found: Candidates | None = None
        for part in parts:
            if found is None:
                found = part
                continue
            joined: dict[str, Any] = {
                name: np.concatenate([getattr(found, name), getattr(part, name)]) for name in _PER_IMAGE
            }
            sums = found.pool_classes + part.pool_classes
            found = cls(**joined, pool_classes=sums, images=found.images + part.images).best(count)
        if found is None:
            raise DataError("pool: holds no shard to choose from")
        return found

    def save(self, file: IO[bytes]) -> None:
        """Write them, compressed, to an open file."""
        content = io.BytesIO()
        np.savez_compressed(content, **{field.name: getattr(self, field.name) for field in fields(self)})
        file.write(content.getvalue())

    @classmethod
    def load(cls, path: Path) -> Candidates:
        """Read what :meth:`save` wrote.

        Raises:
            DataError: no such file.
        """
        try:
            with np.load(path, allow_pickle=False) as found:
                values = {field.name: found[field.name] for field in fields(cls)}
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{path}: cannot be read, {error}; remove it, and it is made again") from error
        return cls(**{**values, "images": int(values["images"])})


_PER_IMAGE = ("ids", "shard", "unreliability", "confidence", "classes", "features")


def choose(candidates: Candidates, budget: int, *, wide: int = 10) -> list[tuple[int, str]]:
    """Which of the candidates to label: every class first, then unreliable ones that are unlike each other.

    A class that the pool shows and no chosen image does gets one, the rarest class first, for half of the budget at
    most: among the images that show most of it the least reliable. The rest are centres: of the ``wide`` times budget
    most unreliable images, each the farthest from all that are chosen (the greedy 2-approximation of k-centre).

    Args:
        candidates: of the pool.
        budget: number of images to choose; all, where there are fewer.
        wide: how many of the most unreliable ones the centres are chosen from.

    Returns:
        Places in ``candidates`` in the order of choice, each with its reason: ``"class K"`` or ``"centre"``.

    Source: k-centre for active learning, Sener and Savarese, ICLR 2018, arXiv 1708.00489; Gonzalez, 1985.
    """
    chosen: list[tuple[int, str]] = []
    shown = candidates.pool_classes > 0
    for label in np.argsort(candidates.pool_classes, kind="stable").tolist():
        if not shown[label] or len(chosen) >= (budget + 1) // 2:
            continue
        column = candidates.classes[:, label]
        # A class is shown where it takes a part of the image as large as in the pool's mean, or half of the best one.
        enough = min(float(candidates.pool_classes[label]) / candidates.images, float(column.max()) / 2)
        if any(column[place] >= enough > 0 for place, _ in chosen):
            continue
        free = [i for i in np.flatnonzero(column >= max(enough, 1e-9)).tolist() if i not in {p for p, _ in chosen}]
        if free:
            chosen.append((max(free, key=lambda i: float(candidates.unreliability[i])), f"class {label}"))
    taken = [place for place, _ in chosen]
    order = [i for i in np.argsort(-candidates.unreliability, kind="stable").tolist() if i not in set(taken)]
    rest = order[: wide * budget]
    x = candidates.features.astype(np.float64)
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    near = np.full(len(x), np.inf)
    for place in taken:
        near = np.minimum(near, np.linalg.norm(x - x[place], axis=1))
    while rest and len(chosen) < budget:
        farthest = max(rest, key=lambda i: near[i])  # the first, and so the most unreliable, of equally far ones
        chosen.append((farthest, "centre"))
        rest.remove(farthest)
        near = np.minimum(near, np.linalg.norm(x - x[farthest], axis=1))
    return chosen
