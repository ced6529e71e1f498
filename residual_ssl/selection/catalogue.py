"""The selectors of this package and what their docstrings say of them, for a table of all."""

from __future__ import annotations

import inspect
import re

from residual_ssl.errors import InvalidInputError
from residual_ssl.selection.selector import Selector
from residual_ssl.selection.wrapper import WrapperSelector

PARTS = ("Formula", "State", "Cost", "Use", "Source")
_PART = re.compile(rf"^({'|'.join(PARTS)}): (.+?)(?=\n\s*\n|\Z)", re.M | re.S)


def selector_classes() -> dict[str, type[Selector]]:
    """Every public selector of :mod:`residual_ssl.selection` by its name, in alphabetical order.

    Example:
        >>> "FixedThreshold" in selector_classes()
        True
    """
    import residual_ssl.selection as package

    public = {name: getattr(package, name) for name in sorted(package.__all__)}
    return {
        name: value
        for name, value in public.items()
        if inspect.isclass(value) and issubclass(value, Selector) and value not in (Selector, WrapperSelector)
    }


def described(selector: type[Selector]) -> dict[str, str]:
    """What a selector's docstring says in its labelled parts: Formula, State, Cost, Use, Source, each on one line.

    Raises:
        InvalidInputError: a docstring without one of them.

    Example:
        >>> from residual_ssl import FixedThreshold
        >>> described(FixedThreshold)["Formula"]
        '``w = 1[c ≥ τ]``, τ = .95, or ``w = 1[c ≥ τ_y]`` with a threshold for each class'
    """
    found = {label: " ".join(text.split()) for label, text in _PART.findall(inspect.getdoc(selector) or "")}
    missing = [label for label in PARTS if label not in found]
    if missing:
        raise InvalidInputError(
            f"selector: got {selector.__name__}, whose docstring has no part {', '.join(missing)}; write each as a "
            f"paragraph that begins with its label, '{missing[0]}: …'"
        )
    return {label: found[label] for label in PARTS}
