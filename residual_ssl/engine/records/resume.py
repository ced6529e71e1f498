"""What an earlier call left in a run directory, and whether this one may continue it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from residual_ssl.config.settings import Settings
from residual_ssl.errors import CheckpointError, ConfigError
from residual_ssl.runtime import checkpoint

# Settings that may differ when a run is continued: they change no result.
_FREE = {"run_dir", "workers", "device", "log_every", "evaluation_batch", "dry_run"}


def stored_run(settings: Settings) -> dict[str, Any] | None:
    """The last checkpoint in the run directory, None where there is none.

    Raises:
        ConfigError: it is of a run with other settings.
        CheckpointError: it cannot be continued.
    """
    path = Path(settings.run_dir) / "last.pt"
    if not path.exists():
        return None
    stored = checkpoint.load(path)
    if "optimizer" not in stored:
        raise CheckpointError(f"checkpoint {path}: holds weights only, training cannot be continued from it")
    old, new = stored["config"], asdict(settings)
    changed = sorted(key for key in new if key not in _FREE and old.get(key) != new[key])
    if changed:
        raise ConfigError(
            f"run_dir: {settings.run_dir} holds a run with other settings ({', '.join(changed)}); "
            "choose another run_dir, or remove that folder to start again"
        )
    return stored


def check_steps(stored: Mapping[str, Any], steps: int, run_dir: str) -> None:
    """Refuse to continue where the data now makes another number of steps of the same epochs.

    Raises:
        ConfigError: with both numbers.
    """
    if stored["steps"] != steps:
        raise ConfigError(
            f"epochs: were {stored['steps']} steps for the run in {run_dir} and are {steps} with the data as it is now;"
            " restore the data, or choose another run_dir"
        )
