"""The checkpoints of a run: what goes into them, which are good, and when the next is due."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from residual_ssl.config.durations import steps_or_seconds
from residual_ssl.engine.records.resume import BEST, LAST, PREVIOUS
from residual_ssl.engine.setup.prepared import PreparedRun
from residual_ssl.runtime import checkpoint
from residual_ssl.runtime.finite import non_finite_entries

DIVERGED = "diverged.pt"


class RunFiles:
    """Writes the checkpoints of a run, on the main process alone.

    Args:
        prepared: everything built.
        progress: entries that are needed to continue, at the time of writing: step, seconds, best, last …
        stored: the checkpoint that the run continues from, None at the start.
    """

    def __init__(
        self, prepared: PreparedRun, progress: Callable[[], dict[str, Any]], stored: Mapping[str, Any] | None
    ) -> None:
        self._prepared = prepared
        self._progress = progress
        self._run_dir = Path(prepared.settings.run_dir)
        self._last_step: int | None = stored["step"] if stored else None
        self._previous_step: int | None = None
        self._steps, self._seconds = None, None
        if prepared.settings.checkpoint_every is not None:
            self._steps, self._seconds = steps_or_seconds(prepared.settings.checkpoint_every)
        self._written = time.monotonic()

    def due(self, step: int) -> bool:
        """Whether ``last.pt`` is to be written after this step, by the number of steps or by this process's clock."""
        if self._steps is not None:
            return step % self._steps == 0
        return self._seconds is not None and time.monotonic() - self._written >= self._seconds

    def write_last(self) -> None:
        """Write ``last.pt``; the one of an earlier step is kept as ``last-previous.pt``."""
        prepared, progress = self._prepared, self._progress()
        self._written = time.monotonic()
        if not prepared.accelerator.is_main_process:
            return
        scaler = prepared.accelerator.scaler
        content = {
            **self._weights(prepared.student, progress["step"]),
            **progress,
            "algorithm": prepared.algorithm.state_dict(),
            "optimizer": prepared.optimizer.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "steps": prepared.data.steps,
            "settled": prepared.settled,
        }
        earlier = self._last_step is not None and self._last_step != progress["step"]
        checkpoint.save(self._run_dir / LAST, content, keep_as=self._run_dir / PREVIOUS if earlier else None)
        if earlier:
            self._previous_step = self._last_step
        self._last_step = progress["step"]

    def set_last_aside(self) -> None:
        """Rename ``last.pt``, whose network predicts nothing finite, and put the one before in its place."""
        if not self._prepared.accelerator.is_main_process:
            return
        last, previous = self._run_dir / LAST, self._run_dir / PREVIOUS
        if last.exists():
            last.replace(self._run_dir / DIVERGED)
        self._last_step = None
        if previous.exists():
            previous.replace(last)
            self._last_step = self._previous_step

    def write_weights(self, name: str, network: nn.Module) -> None:
        """Write a checkpoint that holds a network to predict with."""
        if self._prepared.accelerator.is_main_process:
            checkpoint.save(self._run_dir / name, self._weights(network, self._progress()["step"]))

    def non_finite(self) -> list[str]:
        """Names of what is not finite in the student, or in the network to evaluate."""
        student = self._prepared.student
        network = self._prepared.algorithm.evaluated(student)
        return non_finite_entries(student) or ([] if network is student else non_finite_entries(network))

    def good(self) -> str:
        """Which files in the run directory are good: no network that is not finite is ever written."""
        best = self._progress()["best"]
        step = "" if self._last_step is None else f" (step {self._last_step})"
        found = [f"{LAST}{step}"] if (self._run_dir / LAST).exists() else []
        found += [PREVIOUS] if (self._run_dir / PREVIOUS).exists() else []
        found += [f"{BEST} (step {best['step']:.0f})"] if best and (self._run_dir / BEST).exists() else []
        if not found:
            return f"No checkpoint was written to {self._run_dir} before"
        return f"Good, and from before: {', '.join(found)} in {self._run_dir}"

    def _weights(self, network: nn.Module, step: int) -> dict[str, Any]:
        prepared = self._prepared
        content: dict[str, Any] = {
            "model": network.state_dict(),
            "config": asdict(prepared.settings),
            "class_names": list(prepared.task.class_names),
            "step": step,
        }
        selector = getattr(prepared.algorithm, "selector", None)
        if selector is not None:  # its memory, so that it judges predictions as it judged in training
            content["selector"] = selector.state_dict()
        return content


def snapshot_name(number: int) -> str:
    """File of a run's ``number``-th snapshot, from 1 on."""
    return f"snapshot-{number}.pt"
