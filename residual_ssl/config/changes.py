"""Settings of a finished run that a command changes: where its data are now, how it is evaluated."""

from __future__ import annotations

import copy
import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from residual_ssl.errors import ConfigError

_DATASET = "dataset."


def changed(config: Mapping[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """The configuration of a run with other values at some of its keys.

    Args:
        config: as a run stores it.
        changes: ``KEY=VALUE``, ``KEY`` one of the stored keys, ``task.source.root``; or ``dataset.NAME``, whatever the
            task stores under that name, with all paths that begin with it. The value is JSON, or text.

    Raises:
        ConfigError: no ``=``, a key that is not stored, a name that stands for several values, a target; all of them.

    Example:
        >>> config = {"task": {"source": {"root": "/data", "lists": "/data/lists"}}, "evaluation_batch": 50}
        >>> changed(config, ["dataset.root=/moved", "evaluation_batch=1"])
        {'task': {'source': {'root': '/moved', 'lists': '/moved/lists'}}, 'evaluation_batch': 1}
    """
    result = copy.deepcopy(dict(config))
    faults = []
    for change in changes:
        try:
            _change(result, change)
        except ConfigError as error:
            faults.append(str(error))
    if faults:
        raise ConfigError("\n".join(faults))
    return result


def _change(config: dict[str, Any], change: str) -> None:
    key, sign, text = change.partition("=")
    if not sign or not key:
        raise ConfigError(f"--set {change}: expected KEY=VALUE, as dataset.root=/data")
    leaves = dict(_leaves(config))
    if key in leaves:
        _put(config, key, _value(text, leaves[key]))
        return
    name = key.removeprefix(_DATASET)
    found = {path: value for path, value in leaves.items() if path.startswith("task.") and _last(path) == name}
    if not key.startswith(_DATASET) or not found:
        names = [path for path in leaves if _last(path) != "_target_" and not _last(path).isdecimal()]
        short = [f"{_DATASET}{_last(path)}" for path in names if path.startswith("task.source.")]
        close = difflib.get_close_matches(key, [*dict.fromkeys([*short, *names])], 3)
        near = f"; close ones: {', '.join(close)}" if close else ""
        raise ConfigError(f"--set {key}: the run has no such key{near}")
    if len(set(map(str, found.values()))) > 1:
        values = ", ".join(f"{path} ({value})" for path, value in found.items())
        raise ConfigError(f"--set {key}: stands for several keys of the run, {values}; name the one that you mean")
    old = next(iter(found.values()))
    for path in found:
        _put(config, path, _value(text, old))
    for path, value in leaves.items():
        if path.startswith("task.") and isinstance(value, str) and isinstance(old, str) and value.startswith(f"{old}/"):
            _put(config, path, text + value.removeprefix(old))


def _leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted path and value of everything that is neither a mapping nor a list."""
    entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else None
    if entries is None:
        yield path, node
        return
    for key, value in entries:
        yield from _leaves(value, f"{path}.{key}" if path else str(key))


def _put(config: Any, path: str, value: Any) -> None:
    *above, last = path.split(".")
    if last == "_target_":
        raise ConfigError(f"--set {path}: what a run is built of cannot be changed")
    for key in above:
        config = config[int(key)] if isinstance(config, list) else config[key]
    config[int(last) if isinstance(config, list) else last] = value


def _value(text: str, old: Any) -> Any:
    if isinstance(old, str):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _last(path: str) -> str:
    return path.rpartition(".")[2]
