"""What a run's configuration left open, and what follows from its data: settled once, and stored with the run."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from residual_ssl.config.components import TARGET, build
from residual_ssl.config.settings import Settings
from residual_ssl.task import Task


def settled_task(settings: Settings, stored: Mapping[str, Any] | None) -> tuple[Settings, Task, dict[str, Any]]:
    """The task of a run with the arguments that follow from its data, or from its checkpoint.

    Args:
        settings: as given.
        stored: the checkpoint that the run continues from, None for a new run.

    Returns:
        the settings with these arguments, the task built from them, and what was given in their place by their paths:
        ``{"task.mean": None}``.

    Raises:
        ConfigError, DataError, MissingDataError: as of :meth:`residual_ssl.Task.settled`.
    """
    if stored is not None:
        settings = with_settled(settings, stored)
        return settings, build(settings.task, "task"), dict(stored.get("settled", {}))
    task: Task = build(settings.task, "task")
    found = task.settled()
    if not found:
        return settings, task, {}
    config = copy.deepcopy(dict(settings.task))
    given = dict(_put(config, found, "task"))
    return replace(settings, task=config), build(config, "task"), given


def with_settled(settings: Settings, stored: Mapping[str, Any]) -> Settings:
    """The settings with what a stored run settled, where they say what it was given."""
    task = copy.deepcopy(dict(settings.task))
    for path, given in stored.get("settled", {}).items():
        old, new = stored["config"]["task"], task
        *above, last = path.split(".")[1:]
        for key in above:
            old, new = old[key], new.get(key) or {}
        if new.get(last) == given:
            new[last] = old[last]
    return replace(settings, task=task)


def _put(config: dict[str, Any], found: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    """Put arguments into a component, and those of components in it; their paths and what stood there."""
    for key, value in found.items():
        if isinstance(value, Mapping) and isinstance(part := config.get(key), dict) and TARGET in part:
            yield from _put(part, value, f"{path}.{key}")
        else:
            yield f"{path}.{key}", config.get(key)
            config[key] = value
