"""Scores of selectors on several grounds, by seed, against none and labels only; hindsight; tables of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from recorded import WARM_UP, share, spread, table

LABELS_ONLY, HINDSIGHT = "labels only", "best threshold in hindsight"
THRESHOLDS = (0.5, 0.8, 0.95, 0.99)
REFERENCES = (WARM_UP, LABELS_ONLY, "none", HINDSIGHT, "perfect filter", "oracle")


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
        only = [statistics.mean(scores[ground].gains(name, LABELS_ONLY)) for ground in gains]
        means = [statistics.mean(found) for found in gains.values()]
        verdicts = [sides(found) for found in gains.values()]
        cells.append(
            [
                *(name, str(len(gains)), f"{statistics.mean(means):+.1f}", f"{min(means):+.1f}", f"{min(only):+.1f}"),
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
