"""What a run's configuration left open, and what follows from its data: settled once, and stored with the run."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from residual_ssl.config.components import TARGET, build
from residual_ssl.config.settings import Settings
from residual_ssl.task import Task


def settled_task(settings: Settings, stored: Mapping[str, Any] | None) -> tuple[Settings, Task, tuple[str, ...]]:
    """The task of a run with the arguments that follow from its data, or from its checkpoint.

    Args:
        settings: as given.
        stored: the checkpoint that the run continues from, None for a new run.

    Returns:
        the settings with these arguments, the task built from them, and their paths, ``"task.mean"``.

    Raises:
        ConfigError, DataError, MissingDataError: as of :meth:`residual_ssl.Task.settled`.
    """
    if stored is not None:
        paths = tuple(stored.get("settled", ()))
        settings = with_settled(settings, stored["config"], paths)
        return settings, build(settings.task, "task"), paths
    task: Task = build(settings.task, "task")
    found = task.settled()
    if not found:
        return settings, task, ()
    config = copy.deepcopy(dict(settings.task))
    paths = tuple(_put(config, found, "task"))
    return replace(settings, task=config), build(config, "task"), paths


def with_settled(settings: Settings, config: Mapping[str, Any], paths: tuple[str, ...]) -> Settings:
    """The settings with the values at these paths as a stored configuration has them, where none is given."""
    task = copy.deepcopy(dict(settings.task))
    for path in paths:
        old, new = config["task"], task
        *above, last = path.split(".")[1:]
        for key in above:
            old, new = old[key], new.get(key) or {}
        if new.get(last) is None:
            new[last] = old[last]
    return replace(settings, task=task)


def _put(config: dict[str, Any], found: Mapping[str, Any], path: str) -> Iterator[str]:
    """Put arguments into a component, and those of components in it; their paths."""
    for key, value in found.items():
        if isinstance(value, Mapping) and isinstance(part := config.get(key), dict) and TARGET in part:
            yield from _put(part, value, f"{path}.{key}")
        else:
            config[key] = value
            yield f"{path}.{key}"
