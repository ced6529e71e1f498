"""Selectors on several grounds: the runs of a comparison, their scores by seed, hindsight, tables of them."""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # of what all benchmarks share

from classified import ANIMALS as ANIMALS
from classified import PACS as PACS
from recorded import MEMORY as MEMORY
from recorded import WARM_UP as WARM_UP
from recorded import command_line as command_line
from recorded import is_finished, saved_rows, share, training_command_line
from recorded import positive as positive
from recorded import save as save
from recorded import spread as spread
from recorded import table as table
from recorded import trained as trained

LABELS_ONLY, HINDSIGHT = "labels only", "best threshold in hindsight"
THRESHOLDS = (0.5, 0.8, 0.95, 0.99)
SELECTORS = {
    "none": ["selector=none"],
    "perfect filter": ["selector=oracle", "+selector.keep=known"],
    "oracle": ["selector=oracle"],
    **{f"fixed {level}": ["selector=fixed_threshold", f"selector.threshold={level}"] for level in THRESHOLDS},
    "csl": ["selector=csl"],
    "covar": ["selector=covar"],
    "softmatch": ["selector=softmatch", f"selector.rule.momentum={MEMORY}"],
    "flexmatch": ["selector=flexmatch", f"selector.momentum={MEMORY}"],
    "freematch": ["selector=freematch", f"selector.momentum={MEMORY}"],
    "adamatch": ["selector=adamatch", f"++selector.momentum={MEMORY}"],
    "class shares (dars)": ["selector=dars"],
    "entropy (u2pl)": ["selector=u2pl"],
}
REFERENCES = (WARM_UP, LABELS_ONLY, "none", HINDSIGHT, "perfect filter", "oracle")


def comparison_command_line(
    about: str | None, sizes: Iterable[str], runs: str, grounds: Iterable[str], selectors: Iterable[str]
) -> argparse.ArgumentParser:
    """Arguments of a comparison: those of a benchmark that trains, the network's weights, grounds and selectors."""
    parser = training_command_line(about, sizes, runs)
    parser.add_argument("--weights", type=Path, required=True, help="of tf_efficientnet_lite0, .safetensors")
    parser.add_argument("--grounds", nargs="+", choices=list(grounds), default=list(grounds))
    parser.add_argument("--selectors", nargs="+", choices=list(selectors), default=list(selectors))
    return parser


def compare(
    options: argparse.Namespace,
    name: str,
    run: Callable[[str, str, int, Path], dict[str, Any]],
    report: Callable[[list[dict[str, Any]]], str],
) -> None:
    """Do all runs, by seed and ground, and write the results after each, in the place of its row of before.

    Args:
        options: of :func:`comparison_command_line`.
        name: of the results files.
        run: ``run(ground, selector, seed, place)`` trains in a folder and gives a row.
        report: makes a page of rows.
    """
    order = list(itertools.product(options.seeds, options.grounds, (WARM_UP, LABELS_ONLY, *options.selectors)))
    rows = saved_rows(options.out / f"{name}.json")
    for seed, ground, selector in order:
        place = run_dir(options.runs / options.size, ground, selector, seed)
        if options.finished and not is_finished(place):
            continue
        new = run(ground, selector, seed, place)
        rows = [row for row in rows if (row["seed"], row["ground"], row["selector"]) != (seed, ground, selector)]
        rows.append(new)
        save(options.out, name, {"size": options.size, "rows": rows}, report(rows))
    print(report(rows))


def run_dir(runs: Path, ground: str, selector: str, seed: int) -> Path:
    """Folder of a run below that of all runs of one size."""
    plain = ["-".join("".join(c if c.isalnum() else " " for c in name).split()) for name in (ground, selector)]
    return runs / plain[0] / f"{plain[1]}-{seed}"


class Scores:
    """The main metric on one ground, by selector and seed.

    Args:
        rows: of one ground.
        selectors: names in the order of the tables.
    """

    def __init__(self, rows: list[dict[str, Any]], selectors: Sequence[str]) -> None:
        self.rows = rows
        self.selectors = selectors
        self.of: dict[str, dict[int, float]] = {}
        for row in rows:
            self.of.setdefault(row["selector"], {})[row["seed"]] = row["last"][row["metric"]]
        fixed = [self.of.get(f"fixed {level}", {}) for level in THRESHOLDS if f"fixed {level}" in selectors]
        known = [self.of.get("none", {}), *fixed]
        complete = set.intersection(*(set(found) for found in known))
        self.of[HINDSIGHT] = {seed: max(found[seed] for found in known) for seed in sorted(complete)}

    def gains(self, selector: str, other: str = "none") -> list[float]:
        """Differences by the seeds that both have."""
        one, two = self.of.get(selector, {}), self.of.get(other, {})
        return [one[seed] - two[seed] for seed in sorted(one) if seed in two]

    def __iter__(self) -> Iterator[str]:
        present = [name for name in (*REFERENCES, *self.selectors) if self.of.get(name)]
        return iter(dict.fromkeys(present))


def scores_report(
    title: str, note: str, abouts: Mapping[str, str], rows: list[dict[str, Any]], selectors: Sequence[str], metric: str
) -> str:
    """A table of all grounds, and one for each. Markdown.

    Args:
        title, note: of the page.
        abouts: what each ground is, by its name.
        rows: with ground, selector, seed and what :func:`recorded.trained` gives.
        selectors: names in the order of the tables.
        metric: its name in words.
    """
    grounds = [ground for ground in abouts if any(row["ground"] == ground for row in rows)]
    scores = {ground: Scores([row for row in rows if row["ground"] == ground], selectors) for ground in grounds}
    lines = [f"# {title}", "", note, "", *_summary(scores)]
    for ground, found in scores.items():
        about = abouts[ground]
        lines += ["", f"## {ground}", "", f"{about[0].upper()}{about[1:]}.", "", *_ground_table(found, metric)]
    return "\n".join([*lines, ""])


def sides(gains: Sequence[float]) -> int:
    """1 where paired differences are above 0 by twice their standard error, -1 where they are below, else 0."""
    if len(gains) < 2:
        return 0
    mean, error = statistics.mean(gains), statistics.stdev(gains) / len(gains) ** 0.5
    return (mean > 2 * error) - (mean < -2 * error)


def _summary(scores: dict[str, Scores]) -> list[str]:
    """Each selector over all grounds that it was run on."""
    names = dict.fromkeys(name for found in scores.values() for name in found if name != WARM_UP)
    cells = []
    for name in names:
        gains = {ground: found.gains(name) for ground, found in scores.items() if found.gains(name)}
        if not gains:
            continue
        only = [statistics.mean(found) for ground in gains if (found := scores[ground].gains(name, LABELS_ONLY))]
        means = [statistics.mean(found) for found in gains.values()]
        verdicts = [sides(found) for found in gains.values()]
        cells.append(
            [
                *(name, str(len(gains)), f"{statistics.mean(means):+.1f}", f"{min(means):+.1f}"),
                f"{min(only):+.1f}" if only else "–",
                *(str(verdicts.count(1)), str(verdicts.count(-1))),
            ]
        )
    head = ("selector", "grounds", "− none, mean", "− none, worst", "− labels only, worst", "better", "worse")
    return table(head, cells)


def _ground_table(scores: Scores, metric: str) -> list[str]:
    cells = []
    for name in scores:
        own = [row for row in scores.rows if row["selector"] == name]
        values = list(scores.of[name].values())
        gains = scores.gains(name) if name != WARM_UP else []
        cells.append(
            [name, str(len(values)), spread(values), spread(gains), share(own, "coverage"), share(own, "purity")]
        )
    return table(("selector", "seeds", metric, "− none", "coverage %", "purity %"), cells)
