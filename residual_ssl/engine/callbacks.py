"""What a user's own functions are told during a run: three moments, plain values, nothing to write into."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from residual_ssl.engine.records.result import RunResult


def _nothing(*told: object) -> None:
    """Do nothing with what is told."""


@dataclass(frozen=True)
class Callbacks:
    """Functions that a run calls; by default none does anything.

    They are called on the first process alone, after what they are told of is written. An error in one ends the run, as
    any error does: the last checkpoint is whole, and the same call continues from it.

    Attributes:
        on_log: ``on_log(step, metrics)`` with every row of ``log.jsonl``: ``train/loss``, ``train/coverage``,
            ``validation/miou`` …, every ``log_every`` steps and at each evaluation.
        on_evaluation: ``on_evaluation(step, metrics, checkpoint)`` after each evaluation, with its metrics in per cent
            and ``last.pt`` of that step, which :func:`residual_ssl.load` opens.
        on_end: ``on_end(result)`` when the run has reached its last step, with what ``train`` returns; of a training in
            stages at the end of each. A run that had finished before calls nothing.

    Example:
        >>> seen = []
        >>> callbacks = Callbacks(on_log=lambda step, metrics: seen.append((step, metrics["train/loss"])))
        >>> callbacks.on_log(10, {"train/loss": 0.5})
        >>> seen
        [(10, 0.5)]
    """

    on_log: Callable[[int, Mapping[str, float]], None] = _nothing
    on_evaluation: Callable[[int, Mapping[str, float], Path], None] = _nothing
    on_end: Callable[[RunResult], None] = _nothing
