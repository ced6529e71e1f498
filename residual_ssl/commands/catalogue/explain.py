"""What a key of the configuration does, what it is, and who says so."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from residual_ssl.commands.catalogue.choices import group_choices
from residual_ssl.config.allowed_targets import locate
from residual_ssl.config.argument_types import expectation
from residual_ssl.config.components import TARGET
from residual_ssl.config.docstrings import argument_text, first_sentence
from residual_ssl.config.layers import Layers, compose_layers, file_of
from residual_ssl.config.overrides import unknown_key
from residual_ssl.config.settings import Settings
from residual_ssl.config.yaml_comments import file_comment, key_comment
from residual_ssl.errors import ConfigError

_SHORT = {"split": "dataset.split"}
_ABSENT = object()


@dataclass(frozen=True)
class Explanation:
    """What is known of a key.

    Attributes:
        key: in full.
        value: what it is now; of a group the name of the choice.
        about: what the files and docstrings say of it, with the name of the class where it is one's argument.
        takes: values that it may have, in words; empty where that is not declared.
        set_by: who sets it and to what, in order: the last one wins.
        follows: the key that its value is taken from, or empty.
        choices: of a group, each with what it is.
        keys: below this one, with their values.
    """

    key: str
    value: Any
    about: tuple[str, ...]
    takes: str
    set_by: tuple[tuple[str, Any], ...]
    follows: str
    choices: dict[str, str]
    keys: dict[str, Any]


def explain(key: str, overrides: Sequence[str] = (), *, config_dir: str | Path | None = None) -> Explanation:
    """Explain a key in the configuration that overrides make.

    Args:
        key: dotted: ``"dataset.geometry.crop"``, or a group: ``"selector"``.
        overrides: as of :func:`residual_ssl.compose`.
        config_dir: as of :func:`residual_ssl.compose`.

    Raises:
        ConfigError: no such key; names close ones.
        MissingDataError: ``config_dir`` is not a folder.

    Example:
        >>> explain("dataset.geometry.crop", ["dataset=camvid"]).set_by
        (('dataset/folders.yaml', 321), ('dataset/camvid.yaml', [360, 480]))
    """
    return explained(key, compose_layers(overrides, config_dir=config_dir), config_dir=config_dir)


def explained(key: str, layers: Layers, *, config_dir: str | Path | None = None) -> Explanation:
    """:func:`explain` of a configuration that is composed already."""
    key = _SHORT.get(key.partition("=")[0].lstrip("+"), key.partition("=")[0].lstrip("+"))
    choices = group_choices(key, config_dir=config_dir) if "." not in key else {}
    if choices:
        return _of_group(key, layers, choices, config_dir)
    told, key = key, _own_place(key, layers.raw)
    names = key.split(".")
    value, raw = _at(layers.values, names), _at(layers.raw, names)
    target = _target_of(layers, names[:-1])
    set_by = list(_set_by(key, layers, config_dir))
    if value is _ABSENT:
        default = _default(target, names[-1])
        if default is _ABSENT:
            raise ConfigError(unknown_key(key, layers.raw, [*layers.raw, *Settings.__dataclass_fields__]))
        value = default
    if not set_by and target is not None:
        set_by = [(f"default of {target.__name__}", _default(target, names[-1]))]
    named = isinstance(value, Mapping) and TARGET in value
    about = _documentation(key, names, target, layers)
    if len(names) > 1 or not about:  # settings say all in their docstring
        about = [*_comments(key, layers, config_dir), *about]
    about += _class_text(value)
    follows = key if told != key else _referred(raw) or ""
    keys = {name: one for name, one in value.items() if not name.startswith("_")} if isinstance(value, Mapping) else {}
    shown = value[TARGET] if named else None if keys else value
    hint = _hint(target if target is not None else Settings if len(names) == 1 else None, names[-1])
    takes = "" if hint is None else expectation(hint)
    return Explanation(told, shown, tuple(dict.fromkeys(filter(None, about))), takes, tuple(set_by), follows, {}, keys)


def _of_group(group: str, layers: Layers, choices: dict[str, str], config_dir: str | Path | None) -> Explanation:
    chosen = layers.choices.get(group)
    value = layers.values.get(group)
    about = [] if chosen is None else [file_comment(file_of(f"{group}/{chosen}", config_dir)), *_class_text(value)]
    keys = {name: one for name, one in value.items() if not name.startswith("_")} if isinstance(value, Mapping) else {}
    set_by = []
    for name, _ in layers.files:
        for entry in _content(file_of(name, config_dir)).get("defaults", []):
            choice = _chosen_by(entry, group)
            if choice is not None:
                set_by.append((f"{name}.yaml", choice))
    set_by += [(_rule_name(rule, layers), rule["set"][group]) for rule in layers.rules if group in rule["set"]]
    set_by += [("you", one.partition("=")[2]) for one in layers.overrides if one.partition("=")[0] == group]
    return Explanation(group, chosen, tuple(filter(None, about)), "", tuple(set_by), "", choices, keys)


def _class_text(value: Any) -> list[str]:
    """The first sentence of what a component says of itself."""
    target = _located(value[TARGET]) if isinstance(value, Mapping) and TARGET in value else None
    if target is None or not (said := first_sentence(target)):
        return []
    return [f"{target.__name__}: {said}"]


def _chosen_by(entry: Any, group: str) -> str | None:
    """The choice of a group that an entry of a defaults list makes, whatever it is spelled like."""
    if not isinstance(entry, Mapping):
        return None
    for spelled, choice in entry.items():
        name = str(spelled).removeprefix("override ").strip().lstrip("/").partition("@")[0]
        if name == group:
            return None if choice is None else str(choice)
    return None


def _set_by(key: str, layers: Layers, config_dir: str | Path | None) -> Iterator[tuple[str, Any]]:
    for name, path in _places(key, layers):
        value = _at(_content(file_of(name, config_dir)), path)
        if value is not _ABSENT:
            yield f"{name}.yaml", value
    for rule in layers.rules:
        for spelled, value in rule["set"].items():
            if spelled.lstrip("+") == key:
                yield _rule_name(rule, layers), value
    for override in layers.overrides:
        if override.partition("=")[0].lstrip("+") == key:
            yield "you", _at(layers.values, key.split("."))


def _places(key: str, layers: Layers) -> Iterator[tuple[str, list[str]]]:
    """Files that could hold a key, with its path in each."""
    for name, package in layers.files:
        if not package or key.startswith(f"{package}."):
            yield name, (key[len(package) + 1 :] if package else key).split(".")


def _rule_name(rule: Mapping[str, Any], layers: Layers) -> str:
    conditions = " and ".join(f"{name}={'|'.join(values)}" for name, values in rule["when"].items())
    return f"experiment/{layers.choices.get('experiment')}.yaml, published, where {conditions}"


def _comments(key: str, layers: Layers, config_dir: str | Path | None) -> list[str]:
    """The comment of the last file that has one on a key."""
    found = [key_comment(file_of(name, config_dir), path) for name, path in _places(key, layers)]
    return [comment for comment in found if comment][-1:]


def _documentation(key: str, names: Sequence[str], target: Any, layers: Layers) -> list[str]:
    """What the class says of which this is an argument: directly, or as ``${key}``; or the settings."""
    if len(names) == 1 and key in Settings.__dataclass_fields__:
        return [argument_text(Settings, key)]
    users = [(target, names[-1])] if target is not None else []
    users += [(_located(node[TARGET]), name) for node, name in _users(layers.raw, f"${{{key}}}")]
    for user, name in users:
        if user is not None and (text := argument_text(user, name)):
            return [f"{user.__name__}: {text}"]
    return []


def _users(node: Any, value: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Components with an argument of this raw value, and its name."""
    if isinstance(node, Mapping):
        for name, one in node.items():
            if one == value and TARGET in node:
                yield node, name
            yield from _users(one, value)


def _own_place(key: str, raw: Mapping[str, Any]) -> str:
    """Where a key stands itself that is reached through a node which is another one: ``task.source.labelled``."""
    node: Any = raw
    names = key.split(".")
    for place, name in enumerate(names[:-1], start=1):
        node = node.get(name) if isinstance(node, Mapping) else None
        if (other := _referred(node)) is not None:
            return _own_place(".".join([other, *names[place:]]), raw)
    return key


def _referred(raw: Any) -> str | None:
    """The key that a value is taken from as a whole."""
    whole = isinstance(raw, str) and raw.startswith("${") and raw.endswith("}") and raw.count("${") == 1
    return raw[2:-1] if whole else None


def _target_of(layers: Layers, names: Sequence[str]) -> Any:
    node = _at(layers.values, names) if names else None
    return _located(node[TARGET]) if isinstance(node, Mapping) and TARGET in node else None


def _located(dotted: Any) -> Any:
    try:
        return locate(dotted)
    except ConfigError:  # of a package that is not allowed here
        return None


def _default(target: Any, name: str) -> Any:
    """The default of an argument; None where it has none, ``_ABSENT`` where there is no such argument."""
    try:
        parameter = inspect.signature(target).parameters.get(name)
    except (TypeError, ValueError):
        return _ABSENT
    return _ABSENT if parameter is None else None if parameter.default is parameter.empty else parameter.default


def _hint(target: Any, name: str) -> Any:
    try:
        function = target.__init__ if inspect.isclass(target) and target is not Settings else target
        return get_type_hints(function, include_extras=True).get(name)
    except (TypeError, NameError, AttributeError):
        return None


def _at(node: Any, names: Sequence[str]) -> Any:
    for name in names:
        if not isinstance(node, Mapping) or name not in node:
            return _ABSENT
        node = node[name]
    return node


def _content(path: Path) -> dict[str, Any]:
    import yaml

    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
