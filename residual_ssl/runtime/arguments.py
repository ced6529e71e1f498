"""Ranges of arguments: declared in their annotations, checked together when an object is made."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, wraps
from numbers import Integral
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from residual_ssl.errors import InvalidInputError

_Init = TypeVar("_Init", bound=Callable[..., None])


@dataclass(frozen=True)
class Range:
    """Values that an argument may have.

    Attributes:
        holds: whether a value is among them.
        expected: what they are, in words.
    """

    holds: Callable[[Any], bool]
    expected: str


Share = Annotated[float, Range(lambda value: 0 <= value <= 1, "a number in [0, 1]")]
#: One for all, or a sequence with one for each.
Shares = Annotated[
    float | Sequence[float],
    Range(lambda value: _all_shares(value), "a number in [0, 1], or a list of such numbers"),
]
PositiveShare = Annotated[float, Range(lambda value: 0 < value <= 1, "a number in (0, 1]")]
InnerShare = Annotated[float, Range(lambda value: 0 < value < 1, "a number in (0, 1)")]
#: With 1 an average would never move, and of features nothing would be left.
ShareBelowOne = Annotated[float, Range(lambda value: 0 <= value < 1, "a number in [0, 1)")]
Positive = Annotated[float, Range(lambda value: value > 0, "a number > 0")]
NotNegative = Annotated[float, Range(lambda value: value >= 0, "a number ≥ 0")]
Count = Annotated[int, Range(lambda value: _whole(value) and value >= 1, "an integer ≥ 1")]
Index = Annotated[int, Range(lambda value: _whole(value) and value >= 0, "an integer ≥ 0")]
OddCount = Annotated[int, Range(lambda value: _whole(value) and value >= 1 and value % 2 == 1, "an odd integer ≥ 1")]


def _all_shares(value: Any) -> bool:
    values = [value] if isinstance(value, int | float) else list(value)
    return bool(values) and not isinstance(value, str) and all(0 <= one <= 1 for one in values)


def _whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def checked(init: _Init) -> _Init:
    """Decorator of ``__init__``: refuse arguments outside the ranges and choices that their annotations declare.

    A range is one of the types above or any ``Annotated[T, Range(…)]``, choices are a ``Literal``; either may be one of
    several types, as in ``Share | None``. What one argument asks of another is left to the body.

    Raises:
        InvalidInputError: (by the constructor) naming every argument at fault, one a line.

    Example:
        >>> class Threshold:
        ...     @checked
        ...     def __init__(self, threshold: Share = 0.95, scope: Literal["batch", "sample"] = "batch") -> None: ...
        >>> try:
        ...     Threshold(2.0, "image")
        ... except InvalidInputError as error:
        ...     print(error)
        threshold: got 2.0, expected a number in [0, 1]
        scope: got 'image', expected one of 'batch', 'sample'
    """
    signature = inspect.signature(init)

    @cache
    def hints() -> dict[str, Any]:
        return get_type_hints(init, include_extras=True)

    @wraps(init)
    def checked_init(*args: Any, **kwargs: Any) -> None:
        given = signature.bind(*args, **kwargs).arguments
        faults = [
            f"{name}: got {value!r}, expected {fault}"
            for name, value in given.items()
            if name in hints() and (fault := outside(hints()[name], value))
        ]
        if faults:
            raise InvalidInputError("\n".join(faults))
        init(*args, **kwargs)

    return checked_init  # type: ignore[return-value]


def outside(hint: Any, value: Any) -> str | None:
    """What an annotation's range or choices ask for where ``value`` is not among them; None where it is.

    Args:
        hint: an annotation, with ``Annotated`` kept.
        value: any; one of another type altogether is outside a range.
    """
    origin = get_origin(hint)
    if origin is Literal:
        choices = get_args(hint)
        return None if value in choices else f"one of {', '.join(map(repr, choices))}"
    if origin is Annotated:
        return next((range_.expected for range_ in get_args(hint)[1:] if not _holds(range_, value)), None)
    if origin in (Union, types.UnionType):
        faults = [outside(option, value) for option in get_args(hint) if option is not type(None) or value is None]
        return None if None in faults else " or ".join(fault for fault in faults if fault)
    return None


def _holds(range_: Any, value: Any) -> bool:
    try:
        return not isinstance(range_, Range) or bool(range_.holds(value))
    except (TypeError, ValueError, RuntimeError):  # a text, a list, a tensor of several numbers
        return False
