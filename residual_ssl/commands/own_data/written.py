"""Configuration files written for a user: readable, and never at the cost of what the user wrote."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from residual_ssl.runtime.files import atomic_file


def yaml_text(comments: Iterable[str], entries: Mapping[str, Any]) -> str:
    """A YAML file: comments, then a line for each key.

    Example:
        >>> print(yaml_text(["Mine."], {"classes": ["a", "b"], "geometry": {"crop": 64}}), end="")
        # Mine.
        classes: [a, b]
        geometry: {crop: 64}
    """
    import yaml

    lines = [f"# {line}" for line in comments]
    for key, value in entries.items():
        # A mapping of one key in flow style, without its braces.
        text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=1 << 20)
        lines.append(f"{key}: {text.removesuffix(chr(10)).removesuffix(chr(10) + '...')}")
    return "\n".join(lines) + "\n"


def write_kept(path: Path, text: str) -> Path | None:
    """Write a text file, with a digest in its last line; what a user wrote or changed there is kept beside it.

    Returns:
        Where the earlier content is kept; None where there was none, or as this function had written it.
    """
    kept = None
    if path.exists() and not _is_untouched(path.read_text(encoding="utf-8", errors="replace")):
        numbers = (path.with_name(f"{path.name}.{number}") for number in range(1, 1 << 20))
        kept = next(name for name in numbers if not name.exists())
    with atomic_file(path, keep_as=kept) as file:
        file.write(f"{text}{_DIGEST}{_digest(text)}\n".encode())
    return kept


_DIGEST = "# Change what you like: a file that was changed is kept when it is written anew. "


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]


def _is_untouched(content: str) -> bool:
    text, _, digest = content.rpartition(_DIGEST)
    return bool(text) and digest.strip() == _digest(text)
