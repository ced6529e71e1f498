"""What the labels of a run hold, looked at before the first step: classes without a label, labels that mean nothing."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from residual_ssl.data.splits.lists import few
from residual_ssl.errors import DataError, MissingDataError, ResidualSSLWarning
from residual_ssl.task import Task

# Samples looked at, evenly spaced over a subset.
_MOST = {"labelled": 500, "validation": 100}


@dataclass(frozen=True)
class LabelCounts:
    """Labelled points of a subset.

    Attributes:
        per_class: int64 ``(K,)``, points of each class.
        ignored: points without a label.
        samples, looked_at: number of samples, and of those that were counted.
    """

    per_class: Tensor
    ignored: int
    samples: int
    looked_at: int


def count_labels(task: Task, subset: str, skip: bool = False) -> LabelCounts:
    """Count the labelled points of ``"labelled"`` or ``"validation"``, of a part of the samples where there are many.

    Args:
        task: gives the labels.
        subset: name of the set.
        skip: pass over labels that cannot be read.

    Raises:
        DataError: labels that cannot be read.
    """
    number, read = task.targets(subset)
    # Where a sample has one label, reading all of them costs nothing.
    dense = number > 0 and (skip or read(0).dim() > 0)
    step = max(1, -(-number // _MOST[subset])) if dense else 1
    per_class, ignored, looked_at = torch.zeros(task.num_classes, dtype=torch.int64), 0, 0
    for index in range(0, number, step):
        try:
            target = read(index)
        except (DataError, MissingDataError):
            if not skip:
                raise
            continue
        known = target[(target != task.ignore_index) & (target >= 0)]
        per_class += torch.bincount(known.flatten(), minlength=task.num_classes)[: task.num_classes]
        ignored += target.numel() - known.numel()
        looked_at += 1
    return LabelCounts(per_class, ignored, number, looked_at)


def check_labels(task: Task, *, learns: bool = True, skip: bool = False) -> dict[str, LabelCounts]:
    """Count the labels that a run learns from and is judged by, and say what is wrong with them.

    Args:
        task: of the run.
        learns: whether the labelled set has a part in the loss; False: it is not looked at.
        skip: pass over labels of the labelled set that cannot be read.

    Returns:
        The counts of each subset that has samples.

    Warns:
        ResidualSSLWarning: classes without a labelled point, once a subset.

    Raises:
        DataError: no labelled point at all.
    """
    found = {}
    for subset in ("labelled", "validation") if learns else ("validation",):
        counts = count_labels(task, subset, skip and subset == "labelled")
        if not counts.looked_at:
            continue
        found[subset] = counts
        total = int(counts.per_class.sum())
        share = counts.ignored / max(1, counts.ignored + total)
        seen = "" if counts.looked_at == counts.samples else f" in {counts.looked_at} of {counts.samples} samples"
        if not total:
            raise DataError(
                f"{subset} set: has no labelled point{seen}; all are ignore_index {task.ignore_index}. Correct "
                f"ignore_index, label_map or the labels{'' if subset == 'labelled' else ', or give no validation set'}"
            )
        empty = [name for name, count in zip(task.class_names, counts.per_class.tolist(), strict=True) if not count]
        if empty and task.every_class:
            swallowed = (
                f". {share:.0%} of the points are ignore_index {task.ignore_index}; where that id is a class in your "
                "files (masks of 0 and 255), give another dataset.ignore_index, and dataset.label_map={0: 0, 255: 1}"
                if counts.ignored
                else ""
            )
            effect = "cannot be learned" if subset == "labelled" else "has no part in the mean unless it is predicted"
            warnings.warn(
                ResidualSSLWarning(
                    f"{subset} set: no labelled point of {few(empty)}{seen}; such a class {effect}{swallowed}"
                ),
                stacklevel=2,
            )
    return found
