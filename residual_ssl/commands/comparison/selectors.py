"""Selectors by name, as training builds them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from residual_ssl.config.components import build
from residual_ssl.config.composition import compose_choice
from residual_ssl.errors import ConfigError
from residual_ssl.selection import Selector


def build_selectors(names: Sequence[str], *, config_dir: str | Path | None = None) -> dict[str, Selector]:
    """Selectors of ``configs/selector`` by what they were asked for as.

    Args:
        names: ``"NAME"``, or ``"NAME:KEY=VALUE:KEY=VALUE"`` with arguments of the selector in Hydra's syntax.
        config_dir: folder with further choices, as of :func:`residual_ssl.compose`.

    Raises:
        ConfigError: an unknown name or argument, or a value that the selector refuses.

    Example:
        >>> build_selectors(["csl", "fixed_threshold:threshold=0.9"])["fixed_threshold:threshold=0.9"]
        FixedThreshold(threshold=0.9)
    """
    selectors = {}
    for text in names:
        name, *values = text.split(":")
        if wrong := [value for value in values if "=" not in value]:
            raise ConfigError(f"selector {text}: got {wrong[0]!r}, expected KEY=VALUE, as in {name}:threshold=0.9")
        config = compose_choice("selector", name, values, config_dir=config_dir)
        selectors[text] = build(config, f"selector {text}")
    return selectors


def split_names(text: str) -> list[str]:
    """Names separated by commas, where a comma within brackets separates nothing.

    Example:
        >>> split_names("csl,constrained:coverage=[0.1,0.6],none")
        ['csl', 'constrained:coverage=[0.1,0.6]', 'none']
    """
    names, depth = [""], 0
    for character in text:
        depth += (character in "[({") - (character in "])}")
        if character == "," and depth == 0:
            names.append("")
        else:
            names[-1] += character
    return [name.strip() for name in names if name.strip()]
