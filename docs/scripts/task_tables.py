"""Writes the table of adapters in docs/methods.md, with their lines of code: python docs/scripts/task_tables.py"""

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "methods.md"
FIRST = "<!-- Written by: python docs/scripts/task_tables.py -->\n"
LAST = "<!-- Up to here. -->\n"
_LAYOUT = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)


def adapters() -> Iterator[tuple[str, Path]]:
    """The classes of tasks, each with its module: those whose name and whose base's name end with ``Task``."""
    for folder in ("tasks", "examples"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.ClassDef) or not node.name.endswith("Task") or node.name.startswith("_"):
                    continue
                if any(isinstance(base, ast.Name) and base.id.endswith("Task") for base in node.bases):
                    yield node.name, path


def lines_of_code(source: str) -> int:
    """Lines that hold code: without blank lines, comments and docstrings."""
    texts: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            texts |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = {line for t in tokens if t.type not in _LAYOUT for line in range(t.start[0], t.end[0] + 1)}
    return len(lines - texts)


def table() -> str:
    """A row for each adapter."""
    rows = ["| adapter | lines of code |", "|---|---|"]
    for name, path in adapters():
        where = path.relative_to(ROOT).as_posix()
        rows.append(f"| [`{name}`](../{where}) | {lines_of_code(path.read_text())} |")
    return "\n".join(rows) + "\n"


def rewritten(page: str) -> str:
    """The page with the table as it is now."""
    before, _, rest = page.partition(FIRST)
    _, _, after = rest.partition(LAST)
    return f"{before}{FIRST}\n{table()}\n{LAST}{after}"


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text()))
