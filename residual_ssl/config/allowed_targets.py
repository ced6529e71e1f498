"""Which objects a configuration may name: an allow list, by what a dotted path resolves to and not by its spelling.

A configuration calls what its ``_target_`` keys name, and configurations travel: each checkpoint holds one. The list
below is what such a configuration may build without asking. More is allowed by the person who runs a command, never by
the configuration: ``--allow PACKAGE``, the environment variable ``RESIDUAL_SSL_ALLOW=PACKAGE,PACKAGE``, :func:`allow`
in Python, or an installed extension (an entry point of the group ``residual_ssl.extensions``).
"""

from __future__ import annotations

import importlib
import inspect
import os
from functools import cache
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from residual_ssl.errors import ConfigError

VARIABLE = "RESIDUAL_SSL_ALLOW"
EXTENSIONS = "residual_ssl.extensions"

_LIBRARY = "residual_ssl"
# Functions of this library that make a part of a run. Others write files or start work, and so do classes of the
# packages that are left out: commands, checkpoints, reports.
_LIBRARY_FUNCTIONS = {
    "residual_ssl.data": {"feature_split", "loaded_rows", "make_texts", "table_rows", "value_rows"},
    "residual_ssl.losses": {
        "labelled_cross_entropy",
        "ohem_cross_entropy",
        "selected_cross_entropy",
        "selected_squared_error",
    },
    "residual_ssl.models": {"low_rank_adapted", "network_of"},
    "residual_ssl.tasks": {"digit_spec"},
}
_LIBRARY_PARTS = (
    "algorithms",
    "data",
    "losses",
    "models",
    "perturbations",
    "selection",
    "tasks",
)
# Base classes, by the module that has them, whose subclasses defined in that package may be built.
_BASES = {
    "torch.nn": "torch.nn.Module",
    "torch.optim": "torch.optim.Optimizer",
    "torch.optim.lr_scheduler": "torch.optim.lr_scheduler.LRScheduler",
    "torchvision.transforms": "torch.nn.Module",
    "torchvision.models": "torch.nn.Module",
    "timm": "torch.nn.Module",
    "timm.optim": "torch.optim.Optimizer",
    "torchmetrics": "torchmetrics.Metric",
    "sklearn.preprocessing": "sklearn.base.TransformerMixin",
    "sklearn.feature_extraction": "sklearn.base.BaseEstimator",
    "sklearn.decomposition": "sklearn.base.TransformerMixin",
}
# Functions of other packages that may be called; all they do is to make a network or to read data installed with them.
_FUNCTIONS = {
    "timm.create_model",
    "sklearn.datasets.load_breast_cancer",
    "sklearn.datasets.load_diabetes",
    "sklearn.datasets.load_digits",
    "sklearn.datasets.load_iris",
    "sklearn.datasets.load_wine",
}

_allowed: set[str] = set()


def allow(*packages: str) -> None:
    """Let configurations of this program name anything in further packages.

    Args:
        packages: names of packages or modules, ``"mypackage"``; their submodules are allowed with them.

    Example:
        >>> allow("mypackage")
        >>> "mypackage" in allowed_packages()
        True
    """
    _allowed.update(packages)


def allowed_packages() -> frozenset[str]:
    """Packages allowed beside the list of the library: by :func:`allow`, the environment, installed extensions."""
    named = {name.strip() for name in os.environ.get(VARIABLE, "").split(",")} - {""}
    return frozenset(_allowed | named | _extensions())


def locate(dotted: Any) -> Any:
    """The class or function that a dotted path names, ``package.module.name`` or ``package.module:name``.

    Nothing is imported outside the packages of the allow list, and what is found there is judged by where it was
    defined: a module that another one imports is not a way to it.

    Raises:
        ConfigError: not a dotted path, nothing there, or not allowed.
    """
    dotted = dotted.replace(":", ".", 1) if isinstance(dotted, str) else dotted
    if not isinstance(dotted, str) or "." not in dotted:
        raise ConfigError(f"got {dotted!r}, expected the dotted path of a class or function")
    mine = allowed_packages()
    if not (_within(dotted, mine) or _within(dotted, (_LIBRARY, *_BASES)) or dotted in _FUNCTIONS):
        raise _refused(dotted)
    module, _, name = dotted.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"got {dotted!r}, expected the dotted path of a class or function: {error}") from error
    if isinstance(found, ModuleType) or not callable(found):
        raise ConfigError(f"got {dotted!r}, which is a {type(found).__name__}, expected a class or function")
    if not (_defined_in(found, mine) or _of_library(found) or _of_others(dotted, found)):
        raise _refused(dotted)
    return found


def _of_library(found: Any) -> bool:
    home, name = getattr(found, "__module__", None) or "", getattr(found, "__qualname__", "")
    if inspect.isclass(found):
        return _within(home, tuple(f"{_LIBRARY}.{part}" for part in _LIBRARY_PARTS))
    return any(_within(home, (package,)) and name in names for package, names in _LIBRARY_FUNCTIONS.items())


def _of_others(dotted: str, found: Any) -> bool:
    if not inspect.isclass(found):
        return any(found is _import(name) for name in _FUNCTIONS if name.split(".", 1)[0] == dotted.split(".", 1)[0])
    return any(
        _within(found.__module__, (package,)) and issubclass(found, _import(base)) for package, base in _BASES.items()
    )


def _defined_in(found: Any, packages: frozenset[str]) -> bool:
    return _within(getattr(found, "__module__", None) or "", packages)


def _within(name: str, packages: Any) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def _import(dotted: str) -> Any:
    module, _, name = dotted.rpartition(".")
    return getattr(importlib.import_module(module), name)


@cache
def _extensions() -> frozenset[str]:
    return frozenset(point.module.split(".", 1)[0] for point in entry_points(group=EXTENSIONS))


def _refused(dotted: str) -> ConfigError:
    package = dotted.split(".", 1)[0]
    more = (
        ""
        if package in (_LIBRARY, "torch", "os", "builtins", "sys", "subprocess")
        else f"; if you trust the package {package!r} and this configuration, run with --allow {package}, or set "
        f"{VARIABLE}={package}"
    )
    return ConfigError(
        f"got {dotted!r}, which configurations may not call; expected a component of this library, or a class of "
        f"torch.nn, torch.optim, torchvision, timm or torchmetrics{more}"
    )
