"""Amounts of memory, as people write them."""

from __future__ import annotations

import re
from typing import Any

_BYTES = {"MB": 10**6, "GB": 10**9, "MiB": 2**20, "GiB": 2**30}
_FORM = re.compile(rf"\s*(\d+(?:\.\d+)?)\s*({'|'.join(_BYTES)})\s*")


def bytes_of(value: Any) -> float:
    """Bytes of an amount: a number with MB, GB, MiB or GiB.

    Raises:
        ValueError: saying what was expected; none of size 0.

    Example:
        >>> bytes_of("24GiB") / 2**30, bytes_of("1.5 GB")
        (24.0, 1500000000.0)
    """
    found = _FORM.fullmatch(value) if isinstance(value, str) else None
    if found is None or float(found[1]) == 0:
        raise ValueError(f"got {value!r}, expected an amount of memory such as 24GiB or 800MB")
    return float(found[1]) * _BYTES[found[2]]
