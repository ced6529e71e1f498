"""Finished runs as a report needs them: what they recorded, and their network and selector as training left them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from residual_ssl.algorithms import Algorithm
from residual_ssl.engine.records.result import RESULT_NAME
from residual_ssl.engine.records.run_log import read_log
from residual_ssl.engine.records.trained import load_run
from residual_ssl.errors import CheckpointError, ConfigError, MissingDataError
from residual_ssl.task import Task


@dataclass(frozen=True)
class FinishedRun:
    """A run that has reached its last step.

    Attributes:
        name: name of its directory, with as many of the parents as it takes to be unique among the runs.
        result: content of ``result.json``.
        log: rows of the log, oldest first.
        task: of the run.
        algorithm: with the state that training left it in: thresholds, teacher.
        network: what the algorithm evaluates at the last step, in evaluation mode.
    """

    name: str
    result: dict[str, Any]
    log: list[dict[str, Any]]
    task: Task
    algorithm: Algorithm
    network: nn.Module

    @property
    def config(self) -> dict[str, Any]:
        """Settings of the run."""
        return self.result["config"]  # type: ignore[no-any-return]


def read_runs(paths: Sequence[Path], changes: Sequence[str] = ()) -> list[FinishedRun]:
    """Read run directories, with settings that are others now.

    Raises:
        MissingDataError: runs that are not finished, all of them named.
        ConfigError: no run, a run given twice, or runs whose metrics do not compare: other tasks or classes.
        CheckpointError: a result or a checkpoint that cannot be read.
    """
    if not paths:
        raise ConfigError("runs: got none, expected at least one run directory")
    unfinished = [path for path in paths if not (path / RESULT_NAME).is_file()]
    if unfinished:
        raise MissingDataError(
            "\n".join(
                f"run {path}: has no {RESULT_NAME}, so this run is not finished; give its train command again, it "
                "continues where it stopped"
                if path.is_dir()
                else f"run {path}: no such run directory"
                for path in unfinished
            )
        )
    names = distinct_names(paths)
    runs = [_read(name, path, changes) for name, path in zip(names, paths, strict=True)]
    _check_same_task(runs)
    return runs


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """The last part of each path, or as many of the last parts as it takes to tell all of them apart.

    Raises:
        ConfigError: the same path twice.

    Example:
        >>> distinct_names([Path("a/csl"), Path("a/fixmatch")])
        ['csl', 'fixmatch']
        >>> distinct_names([Path("csl/0"), Path("fixmatch/0")])
        ['csl/0', 'fixmatch/0']
    """
    whole = [path.resolve().parts for path in paths]
    twice = sorted({str(path) for path, parts in zip(paths, whole, strict=True) if whole.count(parts) > 1})
    if twice:
        raise ConfigError(f"runs: {', '.join(twice)} given more than once; give each run directory once")
    count = 1
    while len({parts[-count:] for parts in whole}) < len(whole):
        count += 1
    return ["/".join(parts[-count:]) for parts in whole]


def _read(name: str, path: Path, changes: Sequence[str]) -> FinishedRun:
    try:
        result = json.loads((path / RESULT_NAME).read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"run {path}: {RESULT_NAME} cannot be read ({error}); remove it and train again"
        ) from error
    trained = load_run(path, checkpoint_name="last.pt", changes=changes)
    return FinishedRun(name, result, read_log(path), trained.task, trained.algorithm, trained.model)


def _check_same_task(runs: Sequence[FinishedRun]) -> None:
    first = runs[0]
    for run in runs[1:]:
        kinds = [type(r.task).__name__ for r in (first, run)]
        if kinds[0] != kinds[1]:
            raise ConfigError(
                f"runs: {first.name} is a {kinds[0]} and {run.name} a {kinds[1]}; their metrics do not compare, write "
                "one report for each task"
            )
        if first.task.class_names != run.task.class_names:
            raise ConfigError(
                f"runs: {first.name} has the {first.task.num_classes} classes {', '.join(first.task.class_names)}, "
                f"{run.name} the {run.task.num_classes} classes {', '.join(run.task.class_names)}; their metrics do "
                "not compare, write one report for each set of classes"
            )
