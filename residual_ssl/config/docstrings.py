"""What docstrings say of arguments."""

from __future__ import annotations

import inspect
import re
from typing import Any

_ENTRY = re.compile(r"    (\w+(?:, \w+)*): (.*)")
_SECTIONS = ("Args:", "Attributes:")


def first_sentence(documented: Any) -> str:
    """The first paragraph of a docstring on one line; empty for none."""
    return _plain(" ".join((inspect.getdoc(documented) or "").split("\n\n", 1)[0].split()))


def argument_text(documented: Any, name: str) -> str:
    """What the docstring of a class or function says of an argument, on one line; empty for nothing.

    Example:
        >>> argument_text(argument_text, "name")
        ''
        >>> from residual_ssl.config.settings import Settings
        >>> argument_text(Settings, "seed")
        'fixes initialisation, order, augmentation and views.'
    """
    inside, found = False, list[str]()
    for line in (inspect.getdoc(documented) or "").splitlines():
        if not line.startswith(" ") and line.strip():
            inside = line.strip() in _SECTIONS
            continue
        entry = _ENTRY.fullmatch(line)
        if entry is not None:
            if found:
                break
            if inside and name in entry.group(1).split(", "):
                found.append(entry.group(2))
        elif found and line.startswith("      "):
            found.append(line.strip())
        elif found:
            break
    return _plain(" ".join(found))


def _plain(text: str) -> str:
    """Text without the marks of reStructuredText: the name alone of what is referred to."""
    return re.sub(r":\w+:`~?(?:[\w.]*\.)?([^`]+)`", r"\1", text).replace("``", "")
