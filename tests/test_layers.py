"""Imports run downwards between the layers, private names stay in their packages, folders and modules stay small."""

import ast
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parents[1]
# From the bottom to the top: a layer imports from itself and from those before it.
LAYERS = (
    *("errors", "runtime", "selection", "perturbations", "losses", "models", "data", "diagnostics", "task", "config"),
    *("algorithms", "engine", "tasks", "testing", "commands", "cli", "__main__"),
)
PACKAGE = "residual_ssl"


def modules() -> Iterator[tuple[str, Path]]:
    """Dotted names as installed, with their files: ``tasks/`` stands inside the package."""
    for folder, prefix in ((ROOT / PACKAGE, PACKAGE), (ROOT / "tasks", f"{PACKAGE}.tasks")):
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            yield ".".join((prefix, *(part for part in parts if part != "__init__"))), path


MODULES = dict(modules())
PACKAGES = {name for name, path in MODULES.items() if path.name == "__init__.py"}


def layer(module: str) -> str | None:
    """The second part of the dotted name; none for the front door, which names what every layer offers."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else None


def run_time_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under ``if TYPE_CHECKING``, the insides of functions included."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for other in child.orelse:
                yield other
                yield from run_time_nodes(other)
            continue
        yield child
        yield from run_time_nodes(child)


def stub_origins() -> dict[tuple[str, str], str]:
    """Where lazy packages take their public names from, as their stubs say."""
    origins = {}
    for package in PACKAGES:
        stub = MODULES[package].with_suffix(".pyi")
        for node in ast.walk(ast.parse(stub.read_text())) if stub.is_file() else ():
            if isinstance(node, ast.ImportFrom):
                origin = absolute(node, package, True)
                for alias in node.names:
                    origins[package, alias.asname or alias.name] = origin
    return origins


def absolute(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    """The module that an import names, with the dots of a relative one spelled out."""
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    base = parts[: len(parts) - node.level + is_package]
    return ".".join([*base, *([node.module] if node.module else [])])


ORIGINS = stub_origins()


def imported(module: str, source: str) -> Iterator[tuple[int, str, str]]:
    """Line, module and name (empty for a module as a whole) of what ``source`` imports of this package."""
    for node in run_time_nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == PACKAGE:
                    yield node.lineno, alias.name, ""
        elif isinstance(node, ast.ImportFrom):
            origin = absolute(node, module, module in PACKAGES)
            if origin.split(".")[0] == PACKAGE:
                for alias in node.names:
                    whole = f"{origin}.{alias.name}"
                    if whole in MODULES:
                        yield node.lineno, whole, ""
                    elif layer(origin) is None and (origin, alias.name) in ORIGINS:
                        yield node.lineno, ORIGINS[origin, alias.name], alias.name
                    else:
                        yield node.lineno, origin, alias.name


def upward(module: str, source: str) -> list[str]:
    """Imports of ``source`` from a layer above that of ``module``."""
    home = layer(module)
    if home is None:
        return []
    found = []
    for line, origin, name in imported(module, source):
        target = layer(origin) or name
        if target in LAYERS and LAYERS.index(target) > LAYERS.index(home):
            found.append(f"{module}:{line} ({home}) imports {origin} {name}".rstrip())
    return found


def private(module: str, source: str) -> list[str]:
    """Names with a leading underscore that ``source`` imports from another module."""
    return [
        f"{module}:{line} imports {origin} {name}".rstrip()
        for line, origin, name in imported(module, source)
        if any(part.startswith("_") and not part.startswith("__") for part in [*origin.split("."), name])
    ]


@pytest.mark.parametrize(
    ("module", "source", "count"),
    [
        ("residual_ssl.selection.x", "from residual_ssl.engine import train", 1),
        ("residual_ssl.selection.x", "import residual_ssl.engine.stages", 1),
        ("residual_ssl.selection.x", "from residual_ssl import compose, train", 2),
        ("residual_ssl.selection.x", "from residual_ssl import cli", 1),
        ("residual_ssl.selection.x", "def f():\n    from residual_ssl.models import DPT", 1),
        ("residual_ssl.selection.x", "from ..engine import train", 1),
        ("residual_ssl.selection.x", "from . import selector\nfrom residual_ssl.errors import ResidualSSLError", 0),
        ("residual_ssl.selection.x", "if TYPE_CHECKING:\n    from residual_ssl.engine import train", 0),
        ("residual_ssl.tasks.x", "from residual_ssl.algorithms import EMATeacher", 0),
        ("residual_ssl.cli", "from residual_ssl import compose, train", 0),
    ],
)
def test_what_counts_as_an_import_from_a_layer_above(module: str, source: str, count: int) -> None:
    assert len(upward(module, source)) == count


def test_every_module_belongs_to_a_layer() -> None:
    assert {layer(module) for module in MODULES} - {None} <= set(LAYERS)


def test_imports_run_downwards_between_layers() -> None:
    assert [fault for module, path in MODULES.items() for fault in upward(module, path.read_text())] == []


def test_tasks_know_neither_the_engine_nor_algorithms() -> None:
    found = [
        f"{module}:{line} imports {origin}"
        for module, path in MODULES.items()
        if layer(module) == "tasks"
        for line, origin, _ in imported(module, path.read_text())
        if layer(origin) in ("engine", "algorithms")
    ]
    assert found == []


def test_private_names_are_imported_by_no_other_module() -> None:
    assert [fault for module, path in MODULES.items() for fault in private(module, path.read_text())] == []


def test_a_folder_has_at_most_sixteen_modules_and_packages() -> None:
    children: dict[str, int] = {}
    for module in MODULES:
        parent, _, name = module.rpartition(".")
        if name == "__main__":  # Python's own name, like __init__
            continue
        children[parent] = children.get(parent, 0) + 1
    assert {folder: count for folder, count in children.items() if count > 16} == {}


def test_modules_are_short() -> None:
    lengths = {name: len(path.read_text().splitlines()) for name, path in MODULES.items() if name not in PACKAGES}
    assert {name: length for name, length in lengths.items() if length > 300} == {}
    assert median(lengths.values()) <= 130
