"""Objects from plain configurations: a dotted path and its arguments, checked before anything is built."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any

from residual_ssl.config.allowed_targets import locate
from residual_ssl.errors import ConfigError, ResidualSSLError

TARGET, PARTIAL = "_target_", "_partial_"


def build(config: Any, path: str = "config") -> Any:
    """Build the object that a configuration describes.

    A mapping with ``_target_: dotted.path`` becomes a call of what stands there with the other keys as arguments, built
    first; with ``_partial_: true`` the call is left to whoever has the missing arguments. Other mappings, lists and
    values stand for themselves.

    Only targets on the allow list are imported and called (:mod:`residual_ssl.config.allowed_targets`), so that a
    configuration from a stranger's checkpoint runs no code of the stranger's choice.

    Args:
        config: mappings, lists and plain values.
        path: name of this part in messages.

    Raises:
        ConfigError: listing all faults of :func:`faults`; or naming the part whose constructor refused its arguments.

    Example:
        >>> build({"_target_": "residual_ssl.FixedThreshold", "threshold": 0.9})
        FixedThreshold(threshold=0.9)
    """
    found = faults(config, path)
    if found:
        raise ConfigError("\n".join(found))
    return _build(config, path)


def _build(config: Any, path: str) -> Any:
    if isinstance(config, Mapping):
        arguments = {
            key: _build(value, f"{path}.{key}") for key, value in config.items() if key not in (TARGET, PARTIAL)
        }
        if TARGET not in config:
            return arguments
        target = locate(config[TARGET])
        if config.get(PARTIAL, False):
            return partial(target, **arguments)
        try:
            return target(**arguments)
        except ResidualSSLError as error:
            error.args = (f"{path}.{error}" if not str(error).startswith(path) else str(error),)
            raise
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{path}: {config[TARGET]} refused its arguments: {error}") from error
    if isinstance(config, list | tuple):
        return [_build(value, f"{path}.{index}") for index, value in enumerate(config)]
    return config


def faults(config: Any, path: str = "config") -> list[str]:
    """Every fault to be seen without building: targets not allowed or not there, arguments not taken or missing.

    Nothing outside the allow list is imported.
    """
    if isinstance(config, list | tuple):
        return [fault for index, value in enumerate(config) for fault in faults(value, f"{path}.{index}")]
    if not isinstance(config, Mapping):
        return []
    nested = [
        fault
        for key, value in config.items()
        if key not in (TARGET, PARTIAL)
        for fault in faults(value, f"{path}.{key}")
    ]
    if TARGET not in config:
        return nested
    try:
        target = locate(config[TARGET])
    except ConfigError as error:
        return [f"{path}.{TARGET}: {error}", *nested]
    return [*_signature_faults(target, config, path), *nested]


def _signature_faults(target: Any, config: Mapping[str, Any], path: str) -> list[str]:
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):  # written in C, without a signature
        return []
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return []
    taken = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    given = [key for key in config if key not in (TARGET, PARTIAL)]
    names = [p.name for p in taken]
    found = [
        f"{path}.{key}: {config[TARGET]} takes no such key; it takes {', '.join(names) or 'none'}"
        for key in given
        if key not in names
    ]
    if not config.get(PARTIAL, False):
        missing = [p.name for p in taken if p.default is p.empty and p.name not in given]
        found += [f"{path}.{name}: missing; {config[TARGET]} needs it" for name in missing]
    return found
