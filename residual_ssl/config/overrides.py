"""Overrides as people type them: any text for a path, and every key that does not exist named at once."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from residual_ssl.config.allowed_targets import locate
from residual_ssl.errors import ConfigError

# Last parts of keys whose value is a path or a pattern: what a file system has is taken as it is.
_PATHS = ("root", "source_root", "run_dir", "data_dir", "data_files", "init_from", "weights", "splits", "path")
_HAS_MEANING = re.compile(r"""\s*(?:['"\[{]|\$\{|null\s*$|\?\?\?\s*$|$)""")
_LISTED = 12


def quoted(text: str) -> str:
    r"""Text as a quoted value of Hydra's grammar, whatever signs it holds.

    Example:
        >>> print(quoted("/data/it's, (here)"))
        '/data/it\'s, (here)'
    """
    inside = re.sub(r"(\\*)'", lambda found: 2 * found.group(1) + r"\'", text)
    whole = re.sub(r"(\\+)$", lambda found: 2 * found.group(1), inside)
    return f"'{whole}'"


def plain_overrides(overrides: Iterable[str]) -> list[str]:
    """Overrides in Hydra's grammar, of overrides as they were typed.

    Values that the grammar does not know (spaces, brackets, commas, other scripts) are taken as text, and values of
    keys for paths always, unless they are quoted, lists, mappings, null or ``${…}``. A mapping with ``_target_`` takes
    the place of the component that was there, with all its arguments.

    Raises:
        ConfigError: a list or mapping that is not in the grammar, with the quoting that helps; all of them.
    """
    found, faults = [], []
    for override in overrides:
        try:
            found += _replacing(_plain(override))
        except ConfigError as error:
            faults.append(str(error))
    if faults:
        raise ConfigError("\n".join(faults))
    return found


def _replacing(override: str) -> list[str]:
    """The override, or two where it names another component: Hydra would keep the arguments of the one before."""
    key, _, value = override.partition("=")
    if "." in key and key[0] not in "+~" and re.match(r"\s*\{.*\b_target_\s*:", value):
        return [f"{key}=null", f"++{override}"]
    return [override]


def _plain(override: str) -> str:
    key, sign, value = override.partition("=")
    if sign and not key.strip("+~ "):
        raise ConfigError(f"{override}: got no key before the sign =, expected KEY=VALUE")
    if not sign:
        return override
    means = _HAS_MEANING.match(value)
    if not means and key.rpartition(".")[2] in _PATHS:
        return f"{key}={quoted(value)}"
    if _parses(override):
        return override
    if means and value.strip()[:1] in ("[", "{"):
        raise ConfigError(f"{key.lstrip('+')}: got {value}, which cannot be read; {_quoting_hint(key, value)}")
    return f"{key}={quoted(value)}"


def _parses(override: str) -> bool:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return not OverridesParser.create().parse_override(override).is_sweep_override()
    except HydraException:
        return False


def _quoting_hint(key: str, value: str) -> str:
    inside = value.strip()
    if inside.startswith("[") and inside.endswith("]"):
        items = ",".join(quoted(item.strip().strip("'\"")) for item in inside[1:-1].split(","))
        example = f"{key}=[{items}]"
    else:
        example = f"{key}={{name: 'any text'}}"
    return f'put names with other signs than letters, digits and - _ . / in quotes, in a shell as "{example}"'


def unknown_key(key: str, config: Mapping[str, Any], top: Sequence[str]) -> str:
    """What to say of a key that a configuration does not have.

    Args:
        key: dotted, in full.
        config: the configuration, as plain mappings.
        top: keys of the whole that people give.
    """
    names = key.split(".")
    node: Any = config
    depth = 0
    while depth < len(names) - 1 and isinstance(node, Mapping) and isinstance(node.get(names[depth]), Mapping):
        node = node[names[depth]]
        depth += 1
    parent, name = ".".join(names[:depth]), names[depth]
    prefix = f"{parent}." if parent else ""
    there = [str(entry) for entry in node if not str(entry).startswith("_")] if isinstance(node, Mapping) else []
    takes = _parameters(node)
    if name in takes and name not in there:
        return f"{key}: is not among the values that are set; {parent} takes it: add it as +{key}=VALUE"
    if parent and isinstance(node, Mapping) and not node:
        return f"{key}: is not among the values that are set; {parent} is empty, and takes it as +{key}=VALUE"
    known = list(top) if not parent else [*dict.fromkeys([*there, *takes])]
    full = [path for path in _paths(config) if path.rpartition(".")[2] == name]
    close = difflib.get_close_matches(name, known, 1)
    if close:
        return f"{key}: no such key; did you mean {prefix + close[0]!r}?"
    if full:
        return f"{key}: no such key; did you mean {full[0]!r}?"
    shown = ", ".join(known[:_LISTED]) + (", …" if len(known) > _LISTED else "")
    return f"{key}: no such key; {parent or 'a configuration'} takes {shown or 'no keys'}"


def _parameters(node: Any) -> list[str]:
    """Arguments of what a mapping with ``_target_`` builds."""
    if not isinstance(node, Mapping) or "_target_" not in node:
        return []
    try:
        parameters = inspect.signature(locate(node["_target_"])).parameters.values()
    except (ConfigError, TypeError, ValueError):
        return []
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]


def _paths(config: Any, dotted: str = "") -> list[str]:
    if not isinstance(config, Mapping):
        return []
    found = []
    for name, value in config.items():
        path = f"{dotted}.{name}".lstrip(".")
        found += [path, *_paths(value, path)]
    return found
