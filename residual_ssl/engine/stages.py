"""Training in stages: self-training in rounds, where each run is taught by the one before it."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate import PartialState

from residual_ssl.config.components import TARGET
from residual_ssl.config.settings import Settings
from residual_ssl.engine import training
from residual_ssl.engine.callbacks import Callbacks
from residual_ssl.engine.pages.run_page import write_run_page
from residual_ssl.engine.records.result import RunResult
from residual_ssl.engine.records.run_files import snapshot_name
from residual_ssl.errors import ConfigError
from residual_ssl.runtime.files import copy_file
from residual_ssl.runtime.seeds import mixed_seed

_NONE = Callbacks()
PREVIOUS, SNAPSHOTS = "previous", "previous snapshots"
_CHOICES = ("best", "random")
_COPIED = ("best.pt", "log.jsonl", "config.json", "effective.json", "result.json", "last.pt")


def train(config: Mapping[str, Any], *, callbacks: Callbacks = _NONE) -> RunResult:
    """Train as a configuration says; a run found in ``run_dir`` is continued, a finished one only reported.

    Under ``torchrun`` or ``accelerate launch`` the same call trains on all processes.

    Args:
        config: the keys of :class:`residual_ssl.config.settings.Settings`, as plain values. With the key ``stages`` the
            training is a sequence of runs in folders of ``run_dir``, which ends up holding what the last one left.

            ``stages`` is a list; each stage is a mapping from a name to what it changes in the settings: mappings are
            merged, one with ``_target_`` replaces. The value ``"previous"`` stands for the last checkpoint of the stage
            before, ``"previous snapshots"`` for the list of its snapshots. A stage with several names is a choice
            among these, by ``stage_choice``: ``"best"`` trains all and goes on from the best on the validation set
            (GIST), ``"random"`` draws one by the seed (RIST).
        callbacks: functions to call on the way, see :class:`residual_ssl.engine.Callbacks`.

    Returns:
        The result, which also lies in ``run_dir/result.json``. With ``dry_run`` one without metrics, and no file; of
        several stages the first is tried.

    Raises:
        ConfigError: with all faults, before any data is read; or where ``run_dir`` holds a run with other settings.
        ResidualSSLError: data that is missing or contradicts its specification; a loss that is not finite.
    """
    stages = stages_of(config)
    if not stages:
        whole = {key: value for key, value in config.items() if key not in ("stages", "stage_choice")}
        return training.train(whole, callbacks)
    previous: RunResult | None = None
    for number, candidates in enumerate(stages, 1):
        names = list(candidates)
        if config.get("stage_choice") == "random":
            names = [random.Random(mixed_seed(config.get("seed", 0), number)).choice(names)]
        results = []
        for name in names:
            settings: dict[str, Any] = candidates[name] if previous is None else _filled(candidates[name], previous)
            results.append(training.train({**settings, "run_dir": f"{config['run_dir']}/{number}-{name}"}, callbacks))
        if config.get("dry_run"):
            return results[0]
        previous = max(results, key=lambda result: result.score)
    assert previous is not None
    return _adopt(previous, Path(config["run_dir"]))


def stages_of(config: Mapping[str, Any]) -> list[dict[str, dict[str, Any]]]:
    """The settings of each stage by name, in order; empty where the training is a single run.

    Raises:
        ConfigError: all faults of all stages.
    """
    stages = config.get("stages") or []
    if not stages:
        return []
    found = []
    if config.get("stage_choice", "best") not in _CHOICES:
        found.append(f"stage_choice: got {config['stage_choice']!r}, expected one of {', '.join(_CHOICES)}")
    common = {key: value for key, value in config.items() if key not in ("stages", "stage_choice")}
    listed = isinstance(stages, list) and all(isinstance(stage, Mapping) and stage for stage in stages)
    if not listed:
        found.append(f"stages: got {stages!r}, expected a list of mappings from a name to changed settings")
    read = [{name: merged(common, changes or {}) for name, changes in stage.items()} for stage in stages if listed]
    for number, stage in enumerate(read):
        for name, settings in stage.items():
            if number == 0 and _mentions_previous(settings):
                found.append(f"stages.0.{name}: got {PREVIOUS!r}, but there is no stage before the first")
            try:
                Settings.from_config(settings)
            except ConfigError as error:
                found += [f"stages.{number}.{name}: {line}" for line in str(error).splitlines()]
    if found:
        raise ConfigError("\n".join(found))
    return read


def merged(base: Any, changes: Any) -> Any:
    """``base`` with changes; mappings are merged key by key, one with ``_target_`` replaces what was there.

    Example:
        >>> merged({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"c": 5}, "d": {"_target_": "x.Y"}})
        {'a': {'b': 1, 'c': 5}, 'd': {'_target_': 'x.Y'}}
    """
    if not isinstance(base, Mapping) or not isinstance(changes, Mapping) or TARGET in changes:
        return changes
    return {**base, **{key: merged(base.get(key), value) for key, value in changes.items()}}


def _filled(settings: Any, previous: RunResult) -> Any:
    """Settings with the checkpoints of the previous stage in the places that name them."""
    if isinstance(settings, Mapping):
        return {key: _filled(value, previous) for key, value in settings.items()}
    if isinstance(settings, list):
        return [_filled(value, previous) for value in settings]
    if settings == PREVIOUS:
        return str(previous.run_dir / "last.pt")
    if settings == SNAPSHOTS:
        numbers = range(1, json.loads((previous.run_dir / "config.json").read_text())["snapshots"] + 1)
        return [str(previous.run_dir / snapshot_name(number)) for number in numbers]
    return settings


def _mentions_previous(settings: Any) -> bool:
    if isinstance(settings, Mapping):
        return any(map(_mentions_previous, settings.values()))
    if isinstance(settings, list):
        return any(map(_mentions_previous, settings))
    return settings in (PREVIOUS, SNAPSHOTS)


def _adopt(result: RunResult, run_dir: Path) -> RunResult:
    """Copy what the last stage left to the folder of all stages, so that it is used as any run; the result last."""
    if PartialState().is_main_process:
        for name in _COPIED:
            if (source := result.run_dir / name).exists():
                copy_file(source, run_dir / name)
        write_run_page(run_dir)
    PartialState().wait_for_everyone()  # the others read what it has copied
    adopted = RunResult.read(run_dir)
    assert adopted is not None
    return adopted
