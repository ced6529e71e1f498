"""What an earlier call left in a run directory, and whether this one may continue it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from residual_ssl.config.settings import Settings
from residual_ssl.engine.setup.settled import with_settled
from residual_ssl.errors import CheckpointError, ConfigError, ResidualSSLWarning
from residual_ssl.runtime import checkpoint

if TYPE_CHECKING:
    from residual_ssl.engine.setup.prepared import PreparedRun
    from residual_ssl.engine.setup.training_data import TrainingData

LAST, PREVIOUS, BEST = "last.pt", "last-previous.pt", "best.pt"
# Settings that may differ when a run is continued: they change no result.
_FREE = {
    "run_dir",
    "workers",
    "device",
    "log_every",
    "trackers",
    "evaluation_batch",
    "checkpoint_every",
    "timeout",
    "on_error",
    "max_errors",
    "compile",
    "memory",
    "dry_run",
}
_SHOWN = 12


def stored_run(settings: Settings) -> dict[str, Any] | None:
    """The last checkpoint in the run directory, the one before where that is damaged, None where there is none.

    Raises:
        ConfigError: it is of a run with other settings; with every value that differs.
        CheckpointError: none can be continued.
    """
    found = _last_checkpoint(Path(settings.run_dir))
    if found is None:
        return None
    path, stored = found
    checkpoint.require_continuable(stored, path)
    settings = with_settled(settings, stored)
    defaults = {f.name: f.default for f in fields(Settings) if f.default is not MISSING}
    old, new = _given({**defaults, **stored["config"]}), _given(asdict(settings))
    changed = sorted(key for key in {**old, **new} if key not in _FREE and old.get(key) != new.get(key))
    if changed:
        lines = [line for key in changed for line in differences(old.get(key), new.get(key), key)]
        more = [f"… and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
        raise ConfigError(
            "\n".join(
                [
                    f"run_dir: {settings.run_dir} holds a run with other settings ({', '.join(changed)}); "
                    "choose another run_dir, or give these values as they were",
                    *lines[:_SHOWN],
                    *more,
                ]
            )
        )
    return stored


def _given(config: Any) -> Any:
    """A configuration without what is null: an argument that came later, and is not given, changes nothing."""
    if isinstance(config, Mapping):
        return {key: _given(value) for key, value in config.items() if value is not None}
    return [_given(value) for value in config] if isinstance(config, list | tuple) else config


def differences(old: Any, new: Any, path: str) -> Iterator[str]:
    """One line for each value that differs between two configurations, with both.

    Example:
        >>> list(differences({"lr": 0.1, "eps": 1}, {"lr": 0.2, "eps": 1}, "optimizer"))
        ['optimizer.lr: was 0.1, now 0.2']
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            yield from differences(old.get(key, _ABSENT), new.get(key, _ABSENT), f"{path}.{key}")
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple) and len(old) == len(new):
        for index, (before, now) in enumerate(zip(old, new, strict=True)):
            yield from differences(before, now, f"{path}.{index}")
    elif old != new:
        yield f"{path}: was {_shown(old)}, now {_shown(new)}"


def with_steps_of(stored: Mapping[str, Any], data: TrainingData) -> TrainingData:
    """The data with the number of steps that a run began with, where samples have come or gone since.

    Warns:
        ResidualSSLWarning: another number of samples; the order of samples then differs from here on.
    """
    if stored["steps"] != data.steps:
        warnings.warn(
            f"epochs: the data as they are now make {data.steps} steps, the run began with {stored['steps']} and keeps "
            "them; with another number of samples their order differs from here on",
            ResidualSSLWarning,
            stacklevel=3,
        )
    return replace(data, steps=stored["steps"])


def warn_of_lost_best(run_dir: Path, step: float) -> None:
    """Say that ``best.pt`` of this step is gone."""
    warnings.warn(
        f"{BEST}: is missing from {run_dir}; that network, of step {step:.0f}, is lost, and the best from here on is "
        "kept",
        ResidualSSLWarning,
        stacklevel=4,
    )


class _Absent:
    def __repr__(self) -> str:
        return "absent"


_ABSENT = _Absent()


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _last_checkpoint(run_dir: Path) -> tuple[Path, dict[str, Any]] | None:
    last, previous = run_dir / LAST, run_dir / PREVIOUS
    fault = f"checkpoint {last}: is missing"
    if last.exists():
        try:
            return last, checkpoint.load(last)
        except CheckpointError as error:
            if not previous.exists():
                best = " best.pt still has weights, for init_from of a new run" if (run_dir / BEST).exists() else ""
                raise CheckpointError(f"{error}; there is no {PREVIOUS} to continue from.{best}") from error
            fault = str(error)
    elif not previous.exists():
        return None
    stored = checkpoint.load(previous)
    warnings.warn(
        f"{fault}; the run continues from {PREVIOUS}, step {stored.get('step')}", ResidualSSLWarning, stacklevel=3
    )
    return previous, stored


def processes_by_step(stored: Mapping[str, Any] | None, step: int, prepared: PreparedRun) -> dict[str, int]:
    """Number of processes by the step from which a run had it; a change is said."""
    count = prepared.accelerator.num_processes
    history: dict[str, int] = dict(stored.get("processes", {})) if stored else {}
    before = next(reversed(history.values()), None)
    if before not in (None, count) and prepared.accelerator.is_main_process:
        warnings.warn(
            f"processes: the run continues on {count}, before it had {before}. The order of samples and their views "
            "stay; BatchNorm normalises over shares of another size, unless sync_batchnorm=true",
            ResidualSSLWarning,
            stacklevel=3,
        )
    return history if before == count else {**history, str(step): count}
