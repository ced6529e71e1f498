"""Seeds made of several numbers."""

from __future__ import annotations

_WORD = 0xFFFFFFFFFFFFFFFF


def mixed_seed(*numbers: int) -> int:
    """Mix several numbers (seed, step, rank …) into one seed, so that neighbouring numbers give unrelated streams.

    Returns:
        A number in [0, 2^63).

    Example:
        >>> mixed_seed(0, 1) != mixed_seed(1, 0)
        True
    """
    state = 0x9E3779B97F4A7C15
    for number in numbers:
        state ^= (number + 0x9E3779B97F4A7C15 + (state << 6) + (state >> 2)) & _WORD
        state = (state * 0xBF58476D1CE4E5B9) & _WORD
        state ^= state >> 31
    return state & 0x7FFFFFFFFFFFFFFF
