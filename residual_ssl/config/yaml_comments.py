"""What configuration files say of their keys: the comments beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


def key_comment(path: Path, key: Sequence[str]) -> str:
    """The comment of a key in a YAML file: behind its value, or in the lines above it; empty for none.

    Args:
        path: of the file.
        key: names from the outermost to the key's own.
    """
    import yaml

    text = path.read_text(encoding="utf-8")
    line = _line(yaml.compose(text, Loader=yaml.SafeLoader), key)
    lines = text.splitlines()
    if line is None:
        return ""
    beside = _comment_behind(lines[line])
    if beside:
        indent = len(lines[line]) - len(lines[line].lstrip())
        following = list(_own_lines(lines[line + 1 :], indent + 1))
        return " ".join([beside, *following])
    return " ".join(reversed(list(_own_lines(reversed(lines[:line]), 0, top=line))))


def file_comment(path: Path) -> str:
    """The comment that a file begins with."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            found.append(line.lstrip("# ").strip())
    return " ".join(found)


def _line(node: Any, key: Sequence[str]) -> int | None:
    line = None
    for name in key:
        pairs = getattr(node, "value", None)
        if not isinstance(pairs, list):
            return None
        found = next((pair for pair in pairs if isinstance(pair, tuple) and pair[0].value == name), None)
        if found is None:
            return None
        line, node = found[0].start_mark.line, found[1]
    return line


def _comment_behind(line: str) -> str:
    """Text after a # that stands behind white space and outside quotes."""
    quote = ""
    for place, sign in enumerate(line):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'" and (place == 0 or line[place - 1] in " [{:,"):
            quote = sign
        elif sign == "#" and place and line[place - 1].isspace() and line[:place].strip():
            return line[place + 1 :].strip()
    return ""


def _own_lines(lines: Any, indent: int, top: int | None = None) -> Iterator[str]:
    """Comments that fill lines of their own, up to the first line of something else; not those a file begins with."""
    for number, line in enumerate(lines, start=1):
        stripped = line.strip()
        if not stripped.startswith("#") or len(line) - len(line.lstrip()) < indent:
            return
        if top is not None and number == top:
            return
        yield stripped.lstrip("# ")
