"""Values of a wrong type among a component's arguments, found by its annotations before anything is built."""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from residual_ssl.config.allowed_targets import locate
from residual_ssl.config.components import PARTIAL, TARGET
from residual_ssl.errors import ConfigError
from residual_ssl.runtime.arguments import outside

_PLAIN: dict[Any, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
_LISTS = (Sequence, Collection, list, tuple, set, frozenset)
_MAPPINGS = (Mapping, dict)


def type_faults(config: Any, path: str) -> list[str]:
    """One line for every value that the annotation of its argument rules out.

    Annotations that count are numbers, texts, truth values, lists and mappings of them, and unions; the constructor
    judges the rest. NaN is never a value. What :func:`residual_ssl.config.components.faults` finds is not repeated.
    """
    if isinstance(config, list | tuple):
        return [fault for index, value in enumerate(config) for fault in type_faults(value, f"{path}.{index}")]
    if isinstance(config, float) and math.isnan(config):
        return [f"{path}: got {config!r}, expected a number"]
    if not isinstance(config, Mapping):
        return []
    hints = _hints(config[TARGET]) if TARGET in config else {}
    found = []
    for key, value in config.items():
        if key in (TARGET, PARTIAL):
            continue
        expected = None if key not in hints else _expected(hints[key], value)
        found += (
            type_faults(value, f"{path}.{key}")
            if expected is None
            else [f"{path}.{key}: got {_shown(value)}, expected {expected}"]
        )
    return found


def _hints(target: str) -> dict[str, Any]:
    """Annotations of the arguments of a target; none for arguments whose default contradicts its annotation."""
    try:
        found = locate(target)
        function = found.__init__ if inspect.isclass(found) else found
        hints = get_type_hints(function, include_extras=True)
        parameters = inspect.signature(found).parameters
    except (ConfigError, TypeError, ValueError, NameError, AttributeError, ImportError):
        return {}
    known = {name: hint for name, hint in hints.items() if name in parameters and name != "return"}
    keywords = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {
        name: hint
        for name, hint in known.items()
        if parameters[name].kind not in keywords
        and (parameters[name].default is inspect.Parameter.empty or _expected(hint, parameters[name].default) is None)
    }


def _expected(hint: Any, value: Any) -> str | None:
    """What the hint asks for, where the value is surely none of it; else None."""
    if hint is Any or (isinstance(value, Mapping) and TARGET in value and not _plain_only(hint)):
        return None
    origin = get_origin(hint)
    if origin is Annotated:
        return _expected(get_args(hint)[0], value) or outside(hint, value)
    if origin in (Union, types.UnionType):
        options = [_expected(option, value) for option in get_args(hint)]
        return None if None in options else " or ".join(dict.fromkeys(filter(None, options)))
    if origin is Literal:
        return outside(hint, value)
    if hint in (None, type(None)):
        return None if value is None else "null"
    if hint in _PLAIN:
        return None if _is_plain(value, hint) else _PLAIN[hint]
    kind = origin or hint
    if kind in _LISTS:
        return _list_fault(hint, value)
    if kind in _MAPPINGS:
        return None if isinstance(value, Mapping) else "a mapping"
    # A class: a plain value is none of it, unless it is made by a component or is a class of this value's own.
    if (
        inspect.isclass(kind)
        and kind is not object
        and isinstance(value, str | bool | int | float | list | Mapping | None)
    ):
        of_torch = kind.__module__.startswith("torch")
        return f"a {kind.__name__}" if of_torch and not isinstance(value, kind) else None
    return None


def expectation(hint: Any) -> str:
    """What an annotation asks for, in words; empty where nothing is known of it.

    Example:
        >>> expectation(int | None), expectation(Literal["paper", "released"]), expectation(object)
        ('a whole number or null', 'paper or released', '')
    """
    origin = get_origin(hint)
    if origin is Annotated:
        ranges = [one.expected for one in hint.__metadata__ if hasattr(one, "expected")]
        return ranges[0] if ranges else expectation(get_args(hint)[0])
    if origin in (Union, types.UnionType):
        parts = [expectation(option) for option in get_args(hint)]
        return " or ".join(dict.fromkeys(parts)) if all(parts) else ""
    if origin is Literal:
        return " or ".join(map(str, get_args(hint)))
    if hint in (None, type(None)):
        return "null"
    if hint in _PLAIN:
        return _PLAIN[hint]
    if (origin or hint) in _LISTS:
        return f"a list{_of([item for item in get_args(hint) if item is not Ellipsis])}"
    return "a mapping" if (origin or hint) in _MAPPINGS else ""


def _plain_only(hint: Any) -> bool:
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    plain = [get_args(option)[0] if get_origin(option) is Annotated else option for option in options]
    return all(option in _PLAIN or option is type(None) for option in plain)


def _is_plain(value: Any, kind: Any) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


def _list_fault(hint: Any, value: Any) -> str | None:
    items = [item for item in get_args(hint) if item is not Ellipsis]
    if isinstance(value, str) or not isinstance(value, Sequence | set | frozenset):
        # A component may make one.
        return None if isinstance(value, Mapping) else f"a list{_of(items)}"
    if len(items) == 1 and any(_expected(items[0], entry) for entry in value):
        return f"a list{_of(items)}"
    return None


def _of(items: list[Any]) -> str:
    names = {int: " of whole numbers", float: " of numbers", str: " of texts", bool: " of truth values"}
    return names.get(items[0], "") if items else ""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
