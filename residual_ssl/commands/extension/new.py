"""A working package that adds a task or a selector: module, configuration, entry point, contract test."""

from __future__ import annotations

import keyword
import re
from importlib.util import find_spec
from pathlib import Path

from residual_ssl.commands.catalogue.choices import group_choices
from residual_ssl.errors import ConfigError
from residual_ssl.runtime.files import write_text

#: Kinds of extensions, with the group of choices that each adds to.
KINDS = {"task": "dataset", "selector": "selector"}
_TEMPLATES = Path(__file__).parent / "templates"
_NAME, _CLASS, _FILE = "my_extension", "MyThing", "NAME"


def new_extension(kind: str, name: str, out: str | Path | None = None) -> list[Path]:
    """Write a package that works as it stands, for its author to change.

    Args:
        kind: ``"task"`` or ``"selector"``.
        name: of the package and of the choice: ``"my_rule"``.
        out: folder to write, which must not be there; None for ``name``.

    Returns:
        The files.

    Raises:
        ConfigError: a name that is no name of a package, or is taken; a folder that is there.
    """
    if kind not in KINDS:
        raise ConfigError(f"kind: got {kind!r}, expected one of {', '.join(KINDS)}")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise ConfigError(f"name: got {name!r}, expected lower-case letters, digits and _, as my_{kind}")
    if name in group_choices(KINDS[kind]) or find_spec(name) is not None:
        raise ConfigError(f"name: got {name!r}, which a choice or an installed package has; give another one")
    folder = Path(name if out is None else out)
    if folder.exists():
        raise ConfigError(f"out: {folder} is there already; give another folder, or remove it")
    class_name = "".join(part.capitalize() for part in name.split("_"))
    written = []
    for template in sorted((_TEMPLATES / kind).rglob("*.txt")):
        place = template.relative_to(_TEMPLATES / kind).as_posix().removesuffix(".txt")
        path = folder / re.sub(r"^package/", f"{name}/", place).replace(_FILE, name)
        text = template.read_text(encoding="utf-8").replace(_NAME, name).replace(_CLASS, class_name)
        write_text(path, text.replace(_NAME.replace("_", "-"), name.replace("_", "-")))
        written.append(path)
    return written
