"""An explanation of a key for the console."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any

from residual_ssl.commands.catalogue.choices import names_text
from residual_ssl.commands.catalogue.explain import Explanation

_HEADING = 12


def explanation_text(explanation: Explanation, width: int = 100) -> str:
    """The key with its value, what it does, what it takes, who sets it; of a group its choices.

    Args:
        explanation: as of :func:`explain`.
        width: of the console, in characters.
    """
    value = "" if explanation.value is None and explanation.keys else f" = {_shown(explanation.value)}"
    lines = [f"{explanation.key}{value}"]
    lines += [_wrapped("", text, width) for text in explanation.about]
    if explanation.takes:
        lines.append(_wrapped("takes", explanation.takes, width))
    if explanation.follows:
        lines.append(_wrapped("follows", explanation.follows, width))
    heading = "set by"
    for who, what in explanation.set_by:
        lines.append(_wrapped(heading, f"{who}: {_shown(what)}", width))
        heading = ""
    if len(explanation.set_by) > 1:
        lines.append(_wrapped("", "(the last one counts)", width))
    heading = "keys"
    for name, one in explanation.keys.items():
        lines.append(_wrapped(heading, f"{name}: {_shown(one)}", width))
        heading = ""
    if explanation.choices:
        lines += ["", f"{explanation.key}=", names_text(explanation.choices, width)]
    return "\n".join(lines)


def _wrapped(heading: str, text: str, width: int) -> str:
    indent = " " * (_HEADING + 2)
    first = f"{heading:>{_HEADING}}  "
    return textwrap.fill(text, max(width, 40), initial_indent=first, subsequent_indent=indent, break_on_hyphens=False)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return value["_target_"].rpartition(".")[2] if "_target_" in value else f"{{{_listed(map(str, value))}}}"
    if isinstance(value, list | tuple):
        return f"[{_listed(_shown(one) for one in value)}]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else "to be given (???)" if value == "???" else str(value)


def _listed(values: Iterable[str]) -> str:
    listed = list(values)
    return ", ".join(listed[:8]) + (", …" if len(listed) > 8 else "")
