"""Checks of the numbers that selectors take."""

from __future__ import annotations

from collections.abc import Callable

from residual_ssl.errors import InvalidInputError


def check_confidence(**values: float) -> None:
    """Refuse values outside [0, 1], named as they are given."""
    _check(values, lambda value: 0 <= value <= 1, "a number in [0, 1]")


def check_momentum(momentum: float) -> None:
    """Refuse a momentum outside [0, 1): with 1 an average would never move."""
    _check({"momentum": momentum}, lambda value: 0 <= value < 1, "a number in [0, 1)")


def check_positive(**values: float) -> None:
    """Refuse values that are not > 0."""
    _check(values, lambda value: value > 0, "a number > 0")


def check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    """Refuse a value that is none of the choices."""
    if value not in choices:
        raise InvalidInputError(f"{name}: got {value!r}, expected one of {', '.join(map(repr, choices))}")


def _check(values: dict[str, float], good: Callable[[float], bool], expected: str) -> None:
    for name, value in values.items():
        if not good(value):
            raise InvalidInputError(f"{name}: got {value!r}, expected {expected}")
