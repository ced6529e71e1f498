"""Lengths of time, and of training, as people write them."""

from __future__ import annotations

import re
from typing import Any

_SECONDS = {"s": 1, "sec": 1, "min": 60, "h": 3600, "d": 86400}
_FORM = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*")


def seconds_of(value: Any) -> float:
    """Seconds of a length of time: a number with s, min, h or d.

    Raises:
        ValueError: saying what was expected; none of length 0.

    Example:
        >>> seconds_of("10min"), seconds_of("1.5 h")
        (600.0, 5400.0)
    """
    found = _FORM.fullmatch(value) if isinstance(value, str) else None
    if found is None or found[2] not in _SECONDS or float(found[1]) == 0:
        raise ValueError(f"got {value!r}, expected a length of time such as 90s, 10min or 2h")
    return float(found[1]) * _SECONDS[found[2]]


def steps_or_seconds(value: Any) -> tuple[int | None, float | None]:
    """Steps or seconds of an interval: a whole number of steps, or a length of time.

    Raises:
        ValueError: saying what was expected.

    Example:
        >>> steps_or_seconds(500), steps_or_seconds("500 steps"), steps_or_seconds("10min")
        ((500, None), (500, None), (None, 600.0))
    """
    found = re.fullmatch(r"\s*(\d+)\s*(?:steps?)?\s*", value) if isinstance(value, str) else None
    steps = int(found[1]) if found else value
    if isinstance(steps, int) and not isinstance(steps, bool) and steps >= 1:
        return steps, None
    try:
        return None, seconds_of(value)
    except ValueError:
        raise ValueError(f"got {value!r}, expected steps such as 500, or a length of time such as 10min") from None
