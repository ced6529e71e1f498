"""What a data set holds: samples, labels of each class, sizes of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from tqdm import tqdm

from residual_ssl.commands.own_data.sizes import image_sizes, middle_size
from residual_ssl.data.samples import files_of
from residual_ssl.errors import DataError, MissingDataError
from residual_ssl.runtime.progress import hidden
from residual_ssl.task import Task

SUBSETS = ("labelled", "unlabelled", "validation")
_LOOKED_AT = 500
_READ = 50  # images that are opened where no header can be read alone


@dataclass(frozen=True)
class SubsetFacts:
    """A subset of a data set.

    Attributes:
        samples: how many.
        shares: share of each class among the labelled points, in [0, 1]; empty where no labels are looked at.
        holding: samples that hold each class, of those looked at.
        looked_at: samples whose labels were counted, evenly spaced.
        without_label: share of the points that have no label.
        sizes: (height, width) of images, of 200 at most.
    """

    samples: int
    shares: tuple[float, ...]
    holding: tuple[int, ...]
    looked_at: int
    without_label: float
    sizes: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class DataFacts:
    """A data set.

    Attributes:
        classes: names.
        subsets: facts of each subset that has samples.
    """

    classes: tuple[str, ...]
    subsets: dict[str, SubsetFacts]

    def values(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        found: dict[str, Any] = {}
        for name, subset in self.subsets.items():
            of_class = zip(self.classes, subset.shares, subset.holding, strict=False)
            found[name] = {
                "samples": subset.samples,
                "classes": {one: {"share": share, "samples": number} for one, share, number in of_class},
                "looked_at": subset.looked_at,
                "without_label": subset.without_label,
                "smallest, median, largest": _range(subset.sizes),
            }
        return {"classes": list(self.classes), "subsets": found}


def data_facts(task: Task, source: Any) -> DataFacts:
    """Count and measure the subsets of a data set; labels of the unlabelled one are not looked at.

    Raises:
        DataError, MissingDataError: a label that cannot be read.
    """
    found = {}
    for name in SUBSETS:
        samples = getattr(source, name)
        if len(samples):
            shares, holding, looked_at, without = ((), (), 0, 0.0) if name == "unlabelled" else _labels(task, name)
            found[name] = SubsetFacts(len(samples), shares, holding, looked_at, without, tuple(_sizes(samples)))
    return DataFacts(tuple(task.class_names), found)


def _labels(task: Task, subset: str) -> tuple[tuple[float, ...], tuple[int, ...], int, float]:
    number, read = task.targets(subset)
    # Where a sample has one label, counting all costs nothing.
    step = -(-number // _LOOKED_AT) if read(0).dim() else 1
    points = torch.zeros(task.num_classes, dtype=torch.int64)
    holding, ignored, looked_at = torch.zeros_like(points), 0, 0
    for index in tqdm(range(0, number, step), subset, leave=False, disable=hidden(None)):
        target = read(index)
        known = target[(target != task.ignore_index) & (target >= 0)].flatten()
        counts = torch.bincount(known, minlength=task.num_classes)[: task.num_classes]
        points, holding = points + counts, holding + (counts > 0)
        ignored, looked_at = ignored + target.numel() - known.numel(), looked_at + 1
    total = int(points.sum())
    shares = tuple((points / max(total, 1)).tolist())
    return shares, tuple(holding.tolist()), looked_at, ignored / max(total + ignored, 1)


def _sizes(samples: Any) -> list[tuple[int, int]]:
    files = [path for index in range(len(samples)) if (path := files_of(samples, index)[0]) is not None]
    if files:
        return image_sizes(files)
    found = []
    for index in range(0, len(samples), -(-len(samples) // _READ) or 1):
        try:
            found.append(tuple(samples[index].image.shape[-2:]))
        except (DataError, MissingDataError):  # the doctor says which
            continue
    return found  # type: ignore[return-value]


def _range(sizes: tuple[tuple[int, int], ...]) -> list[tuple[int, int]]:
    by_area = sorted(sizes, key=lambda size: size[0] * size[1])
    return [by_area[0], middle_size(by_area), by_area[-1]] if sizes else []


def facts_text(facts: DataFacts) -> str:
    """A line a subset, then a table of the classes: share of the labelled points, and samples that hold each."""
    lines = []
    for name, subset in facts.subsets.items():
        sizes = [f"{height}×{width}" for height, width in _range(subset.sizes)]
        measured = "" if not sizes else f", all {sizes[0]}" if len(set(sizes)) == 1 else f", {sizes[0]} to {sizes[2]}"
        ignored = f", {subset.without_label:.1%} of the points without a label" if subset.without_label else ""
        lines.append(f"{name:>12}  {subset.samples:,} samples{measured}{ignored}")
    shown = {name: subset for name, subset in facts.subsets.items() if subset.shares}
    width = max(map(len, facts.classes))
    head = "".join(f"  {name:>10}  {'samples':>11}" for name in shown)
    lines += ["", f"{'class':<{width}}{head}"]
    for number, one in enumerate(facts.classes):
        cells = (
            f"  {subset.shares[number]:>10.2%}  {f'{subset.holding[number]} of {subset.looked_at}':>11}"
            for subset in shown.values()
        )
        lines.append(f"{one:<{width}}{''.join(cells)}")
    return "\n".join(lines)
