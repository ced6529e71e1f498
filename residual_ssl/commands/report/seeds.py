"""Runs that differ in their seed alone: mean and standard deviation, and paired differences between settings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from statistics import mean, stdev
from typing import Any

from residual_ssl.commands.report.runs import FinishedRun
from residual_ssl.commands.report.table import Table
from residual_ssl.engine.pages import ABSENT, metric_name

# What changes no result.
_FREE = {"run_dir", "seed", "workers", "device", "log_every", "trackers", "timeout", "checkpoint_every", "snapshots"}


@dataclass(frozen=True)
class _Group:
    """Runs of the same settings: ``scores[seed]`` is the main metric at the last step."""

    name: str
    scores: Mapping[int, float]


def over_seeds(runs: Sequence[FinishedRun]) -> Table | None:
    """Mean ± sample standard deviation over seeds of each setting, and its paired difference to the first one.

    Runs belong together where their settings differ in nothing but the seed, the place of their results, the start
    (``init_from``), or what changes no result. A difference is taken seed by seed and needs two seeds that both have.

    Returns:
        None where no setting has two seeds.
    """
    metric = runs[0].task.main_metric
    groups = _groups(runs, metric)
    if all(len(group.scores) < 2 for group in groups):
        return None
    name = metric_name(metric)
    first = groups[0]
    rows = []
    for group in groups:
        shared = [] if group is first else [seed for seed in group.scores if seed in first.scores]
        differences = [group.scores[seed] - first.scores[seed] for seed in shared]
        above = f"{sum(d > 0 for d in differences)} of {len(differences)}" if differences else ABSENT
        rows.append(
            (
                group.name,
                _spread(list(group.scores.values())),
                str(len(group.scores)),
                _spread(differences, sign="+"),
                above,
            )
        )
    header = ("setting", f"{name} last", "seeds", f"difference to {first.name}", "seeds above")
    notes = (
        "Mean ± sample standard deviation over seeds, of the last evaluation. Differences are paired: seed by seed, "
        "then averaged. The standard error of such a mean is its ± divided by the root of the number of seeds; a "
        "difference below twice that is no evidence.",
    )
    return Table(header, tuple(rows), (False,) * len(rows), notes)


def _groups(runs: Sequence[FinishedRun], metric: str) -> list[_Group]:
    found: dict[str, list[FinishedRun]] = {}
    for run in runs:
        found.setdefault(repr(_without_seed(run.config, run.config["seed"])), []).append(run)
    groups = []
    for members in found.values():
        scores = {run.config["seed"]: float(run.result["last"].get(metric, math.nan)) for run in members}
        groups.append(_Group(_common_name([run.name for run in members]), scores))
    names = [group.name for group in groups]
    return [
        group if names.count(group.name) == 1 else _Group(members[0].name, group.scores)
        for group, members in zip(groups, found.values(), strict=True)
    ]


def _without_seed(value: Any, seed: int, top: bool = True) -> Any:
    """Settings without what may differ between runs of one setting."""
    if isinstance(value, Mapping):
        return {
            key: (one is None) if top and key == "init_from" else _without_seed(one, seed, False)
            for key, one in sorted(value.items())
            if not (top and key in _FREE) and not (key == "seed" and one == seed)
        }
    return [_without_seed(one, seed, False) for one in value] if isinstance(value, list) else value


def _common_name(names: Sequence[str]) -> str:
    """What the names share at their beginning, else at their end.

    Example:
        >>> _common_name(["csl-0", "csl-1"]), _common_name(["0/csl", "1/csl"]), _common_name(["a", "b"])
        ('csl', 'csl', 'a …')
    """
    if len(names) == 1:
        return names[0]
    start = _common_start(names).rstrip("-_/. ")
    end = _common_start([name[::-1] for name in names])[::-1].lstrip("-_/. ")
    return start or end or f"{names[0]} …"


def _common_start(names: Sequence[str]) -> str:
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    return "".join(letters[0] for letters in same)


def _spread(values: Sequence[float], sign: str = "") -> str:
    if not values or not all(map(math.isfinite, values)):
        return ABSENT
    if len(values) == 1:
        return f"{values[0]:{sign}.2f}"
    return f"{mean(values):{sign}.2f} ± {stdev(values):.2f}"
