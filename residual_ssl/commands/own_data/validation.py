"""What of one's own samples is held out to measure on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from residual_ssl.errors import ConfigError

_SHARE = 0.2

#: ``None`` for the default, a share in (0, 1), a number, or the path of a folder.
Validation = str | None


def wanted(validation: Validation) -> int | float | str:
    """What is asked for: a number, a share below 1, or a folder. ``none`` is the number 0.

    Example:
        >>> wanted(None), wanted("30"), wanted("0.1"), wanted("none"), wanted("val")
        (0.2, 30, 0.1, 0, 'val')
    """
    if validation is None:
        return _SHARE
    if validation == "none":
        return 0
    try:
        number = float(validation)
    except ValueError:
        return validation
    if not number >= 0 or (number > 1 and number != int(number)):
        raise ConfigError(f"validation: got {validation}, expected a share below 1, a number of images, or a folder")
    return number if 0 < number < 1 else int(number)


def number_of(share: int | float, total: int) -> int:
    """A number as it is, a share below 1 of a total: at least one.

    Example:
        >>> number_of(3, 100), number_of(0.2, 100), number_of(0.2, 2)
        (3, 20, 1)
    """
    return share if isinstance(share, int) else max(1, round(share * total))


def held_out(names: Sequence[str], number: int, most: int) -> list[str]:
    """Names to hold out, sorted: chosen by a digest of each, so that few change when samples are added.

    Args:
        names: of the samples that could be held out.
        number: how many are wanted.
        most: how many can be spared.

    Example:
        >>> held_out(["a", "b", "c", "d", "e"], 2, most=5), held_out(["a", "b"], 2, most=0)
        (['c', 'd'], [])
    """
    ordered = sorted(names, key=lambda name: hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest())
    return sorted(ordered[: max(0, min(number, most))])
