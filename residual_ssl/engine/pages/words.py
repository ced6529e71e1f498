"""Words for metrics and numbers, the same in every table."""

from __future__ import annotations

import math

#: What stands for a number that there is not.
ABSENT = "–"

_METRIC_NAMES = {"miou": "mIoU", "iou": "IoU"}


def metric_name(metric: str) -> str:
    """A metric's name as it is printed.

    Example:
        >>> metric_name("miou"), metric_name("balanced_accuracy")
        ('mIoU', 'balanced accuracy')
    """
    return _METRIC_NAMES.get(metric, metric.replace("_", " "))


def number(value: float | None, digits: int, scale: float = 1) -> str:
    """A number times ``scale`` with so many digits after the point; a dash for none and for what is not finite.

    Example:
        >>> number(0.5, 1, scale=100), number(None, 2)
        ('50.0', '–')
    """
    return ABSENT if value is None or not math.isfinite(value) else f"{scale * value:.{digits}f}"
