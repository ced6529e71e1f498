"""Selection rules where pseudo-labels go wrong: each rule continues one labels-only warm-up, nothing but it changes.

    python benchmarks/regimes.py --size reduced --seeds 0 1 2
    python benchmarks/regimes.py --size reduced --seeds 0 1 2 --cifar10 CIFAR10 --mnist MNIST

A regime is a way in which data are difficult: strangers in the unlabelled pool, corrupted images, classes of unlike
frequency, hardly any labels, a warm-up cut short. UniMatch is trained on the embedded digit scenes, of which nothing is
read from outside. `--size full` takes 800 unlabelled scenes and 300 steps after the warm-up (a GPU), `--size half` 400
and 150 (one CPU core, 40 s a run), `--size reduced` 400 smaller scenes and 100 steps (one CPU core, 17 s a run). With
`--cifar10` and `--mnist` there are regimes of real images, too: pools of which two fifths and half are of classes that
are not asked for.

Runs are done one by one, those of the first rules for all regimes and seeds before those of the others; the results
file is written after each. A run that was cut off is continued, a finished one only read. The truth of unlabelled
scenes is read to measure pseudo-labels, and by the oracle alone to choose them.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import classified
from recorded import (
    MEMORY,
    WARM_UP,
    is_finished,
    positive,
    save,
    seconds,
    share,
    spread,
    table,
    trained,
    training_command_line,
)

from residual_ssl.runtime.provenance import portable


class Regime(NamedTuple):
    """What is difficult, in words and as overrides; steps of the warm-up, None for those of the size; which data."""

    about: str
    overrides: list[str]
    warm_up: int | None = None
    data: str = "scenes"


REGIMES = {
    "clean": Regime("48 labelled scenes, nothing wrong", []),
    "letters": Regime("60 % of the unlabelled scenes hold letters, of no class", ["dataset.source.letters=0.6"]),
    "fewer letters": Regime("30 % of the unlabelled scenes hold letters", ["dataset.source.letters=0.3"]),
    "more letters": Regime("85 % of the unlabelled scenes hold letters", ["dataset.source.letters=0.85"]),
    "corrupted": Regime(
        "60 % of the unlabelled scenes under heavy noise, blur or next to no contrast",
        ["dataset.source.corrupted=0.6"],
    ),
    "long tail": Regime(
        "the most frequent digit 30 times as often as the rarest, labelled and unlabelled; validation balanced",
        ["dataset.source.imbalance=30"],
    ),
    "few labels": Regime("12 labelled scenes", ["dataset.source.labelled=12"]),
    "short warm-up": Regime("100 steps of warm-up", [], 100),
    "open set": Regime(
        "CIFAR-10 (JPEG-lossy copies), 240 labelled images of the six animals; two fifths of the pool are vehicles. "
        "FixMatch, a small network; accuracy on animals",
        [],
        data="cifar10",
    ),
    "open set of digits": Regime(
        "MNIST, 25 labelled images of 0 to 4; half of the pool are 5 to 9. FixMatch, a small network; accuracy on 0 to "
        "4",
        [],
        data="mnist",
    ),
}
# Real images of some classes, with those of the others in the pool: overrides by folder.
IMAGES = {
    "cifar10": partial(classified.cifar10, labelled=240, classes=classified.ANIMALS),
    "mnist": partial(classified.mnist, labelled=25),
}
# In order of importance, as that is the order of the runs: the first FIRST of them for all regimes before the others.
RULES = {
    "none": ["selector=none"],
    "oracle": ["selector=oracle"],
    "csl": ["selector=csl"],
    "fixed .95": ["selector=fixed_threshold"],
    "covar": ["selector=covar"],
    "freematch": ["selector=freematch", f"selector.momentum={MEMORY}"],
    "reliable regions": ["selector=reliable_regions"],
    "softmatch": ["selector=softmatch", f"selector.rule.momentum={MEMORY}"],
    "image share (daformer)": ["selector=daformer"],
    "confidence": ["selector=ael"],
    "adamatch": ["selector=adamatch", f"++selector.momentum={MEMORY}"],
}
FIRST = 5
NEED_SCENES = ("reliable regions", "image share (daformer)")
BY_DEFAULT = list(RULES)[:9]
SIZES = {
    "full": ["dataset.source.unlabelled=800"],
    "half": ["dataset.source.unlabelled=400"],
    "reduced": [
        *("dataset.source.unlabelled=400", "dataset.source.size=48", "dataset.geometry.crop=48"),
        "dataset.mask_block=6",
    ],
}
# Of the warm-up, of each rule after it.
STEPS = {
    "scenes": {"full": (300, 300), "half": (300, 150), "reduced": (300, 100)},
    "cifar10": {"full": (2000, 10000), "half": (300, 600), "reduced": (300, 200)},
    "mnist": {"full": (200, 2000), "half": (200, 600), "reduced": (200, 300)},
}


def main() -> None:
    options = parse()
    rows: list[dict[str, Any]] = []
    for regime, seed, rule in order(options):
        if options.finished and not is_finished(place(regime, rule, seed, options)):
            continue
        rows.append(run(regime, rule, seed, options))
        text = report(rows, options.size)
        save(options.out, f"regimes_{options.size}", {"size": options.size, "rows": rows}, text)
    print(report(rows, options.size))


def order(options: argparse.Namespace) -> Iterator[tuple[str, int, str]]:
    """Regime, seed and rule of each run: the first rules of all regimes before the others."""
    first = [WARM_UP, *list(RULES)[:FIRST]]
    for rules in (first, [rule for rule in RULES if rule not in first]):
        for regime, seed, rule in itertools.product(options.regimes, options.seeds, rules):
            fits = REGIMES[regime].data == "scenes" or rule not in NEED_SCENES
            if fits and rule in (WARM_UP, *options.rules):
                yield regime, seed, rule


def parse() -> argparse.Namespace:
    parser = training_command_line(__doc__, SIZES, "regimes")
    parser.add_argument("--regimes", nargs="+", choices=REGIMES, help="default: all that have their data")
    for name in IMAGES:
        parser.add_argument(f"--{name}", type=Path, help="folder with train.parquet and test.parquet")
    parser.add_argument("--rules", nargs="+", choices=RULES, default=BY_DEFAULT)
    options = parser.parse_args()
    at_hand = [name for name, regime in REGIMES.items() if regime.data == "scenes" or getattr(options, regime.data)]
    options.regimes = options.regimes or at_hand
    for name in options.regimes:
        if name not in at_hand:
            parser.error(f"the regime {name!r} needs --{REGIMES[name].data} FOLDER")
    return options


def run(regime: str, rule: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train with one rule and seed; data and warm-up differ between seeds and are the same for all rules."""
    about = REGIMES[regime]
    warm_up, after = STEPS[about.data][options.size]
    if rule == WARM_UP:
        steps = about.warm_up or warm_up
        choice = ["algorithm=supervised", f"steps={steps}", f"evaluate_every={steps}"]
    else:
        algorithm = "unimatch" if about.data == "scenes" else "fixmatch"
        choice = [f"algorithm={algorithm}", *RULES[rule], f"steps={after}", f"evaluate_every={after}"]
        choice.append(f"init_from={place(regime, WARM_UP, seed, options) / 'last.pt'}")
    if about.data == "scenes":
        data = ["experiment=digits"]
        overrides = [*SIZES[options.size], *about.overrides, *choice, *options.overrides]
    else:
        data = IMAGES[about.data](getattr(options, about.data))
        overrides = ["unlabelled_batch=48", *choice, *options.overrides]
    where = [f"seed={seed}", f"run_dir={place(regime, rule, seed, options)}"]
    row = trained([*data, *overrides, *where], read_only=options.finished)
    return {"regime": regime, "rule": rule, "seed": seed, "overrides": list(map(portable, overrides)), **row}


def place(regime: str, rule: str, seed: int, options: argparse.Namespace) -> Path:
    runs: Path = options.runs
    return runs / options.size / _name(regime) / f"{_name(rule)}-{seed}"


def _name(rule: str) -> str:
    return "-".join("".join(c if c.isalnum() or c == "-" else " " for c in rule).split())


def report(rows: list[dict[str, Any]], size: str) -> str:
    """One table a regime and what it says in words. Markdown."""
    lines = [f"# Selection rules in difficult regimes, {size} size", ""]
    for regime in (name for name in REGIMES if any(row["regime"] == name for row in rows)):
        group = [row for row in rows if row["regime"] == regime]
        lines += [
            f"## {regime}",
            "",
            f"{REGIMES[regime].about[0].upper()}{REGIMES[regime].about[1:]}.",
            "",
            *rule_table(group),
            "",
            verdict(group),
            "",
        ]
    steps = {name: "{} and {}".format(*STEPS[name][size]) for name in IMAGES}
    warm_up, after = STEPS["scenes"][size]
    return "\n".join([*lines, NOTE.format(warm_up=warm_up, after=after, **steps), ""])


NOTE = (
    "Mean ± standard deviation over seeds. Every rule continues the warm-up of its seed: {warm_up} steps on labels "
    "unless the regime says otherwise, then {after} steps of UniMatch under a new learning rate schedule ({cifar10} "
    "on CIFAR-10, {mnist} on MNIST). Differences are paired by seed, of the last step. Gap closed: (rule − none) / "
    "(oracle − none), by seed. Coverage and purity: weighted means over the last 100 training steps, of the unlabelled "
    "batch. The moving averages of FreeMatch, SoftMatch and AdaMatch have a momentum of .97, for the published .999 is "
    "made for longer runs. "
    "Seconds: of training, on a machine shared with other work unless the hardware says otherwise. Ahead of another, "
    "or different from it, is said of a rule only where the paired difference is larger than its own standard "
    "deviation, which for three seeds is a low bar."
)


def rule_table(rows: list[dict[str, Any]]) -> list[str]:
    scores = Scores(rows)
    metric = {"miou": "mIoU"}.get(rows[0]["metric"], rows[0]["metric"])
    cells = []
    for rule in scores.rules:
        own = [row for row in rows if row["rule"] == rule]
        compared = rule != WARM_UP
        cells.append(
            [
                *(rule, str(len(own)), spread([_score(row) for row in own])),
                spread(scores.gains(rule, "none") if compared else []),
                spread(scores.gaps_closed(rule) if compared else []),
                *(share(own, "coverage"), share(own, "purity"), seconds(own)),
            ]
        )
    return table(
        ("rule", "seeds", metric, "− none", "gap closed %", "coverage %", "purity %", "seconds"),
        cells,
    )


def _score(row: dict[str, Any]) -> float:
    score: float = row["last"][row["metric"]]
    return score


class Scores:
    """The rows of a regime by rule and seed."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._scores = {(row["rule"], row["seed"]): _score(row) for row in rows}
        self.seeds = sorted({row["seed"] for row in rows})
        present = {row["rule"] for row in rows}
        self.rules = [rule for rule in (WARM_UP, *RULES) if rule in present]

    def gains(self, rule: str, other: str) -> list[float]:
        """Differences of two rules, by the seeds that both have."""
        both = [seed for seed in self.seeds if (rule, seed) in self._scores and (other, seed) in self._scores]
        return [self._scores[rule, seed] - self._scores[other, seed] for seed in both]

    def gaps_closed(self, rule: str) -> list[float]:
        """In per cent, by seed; nothing where the oracle is no better than no selection with any seed."""
        whole = self.gains("oracle", "none")
        if not whole or min(whole) <= 0 or len(self.gains(rule, "oracle")) < len(self.gains(rule, "none")):
            return []
        return [
            100 * (1 + lost / gap)
            for seed in self.seeds
            for lost, gap in zip(self._at(rule, "oracle", seed), self._at("oracle", "none", seed), strict=False)
        ]

    def _at(self, rule: str, other: str, seed: int) -> list[float]:
        keys = [(rule, seed), (other, seed)]
        return [self._scores[keys[0]] - self._scores[keys[1]]] if all(key in self._scores for key in keys) else []


def verdict(rows: list[dict[str, Any]]) -> str:
    """Which rule wins, computed from the rows."""
    scores = Scores(rows)
    complete = len(scores.gains("none", "none"))
    judged = [
        rule
        for rule in scores.rules
        if rule not in (WARM_UP, "none", "oracle") and len(scores.gains(rule, "none")) == complete > 0
    ]
    whole = scores.gains("oracle", "none")
    if not judged or not whole:
        return "Not enough runs for a verdict."
    order = sorted(judged, key=lambda rule: -statistics.mean(scores.gains(rule, "none")))
    best = order[0]
    words = [f"Oracle − none: {spread(whole)}."]
    if not positive(whole):
        words.append("The oracle is not clearly better than no selection: there is little that selection could gain.")
    closed = scores.gaps_closed(best)
    share = f", {spread(closed)} % of the gap" if closed else ""
    figures = f"**{best}** ({spread(scores.gains(best, 'none'))} over none{share})"
    better = [rule for rule in order if positive(scores.gains(rule, "none"))]
    if best in better:
        words.append(f"Best: {figures}.")
    elif better:
        words.append(f"Highest mean: {figures}, not clearly above none; clearly above it: {', '.join(better)}.")
    else:
        words.append(f"No rule clearly beats no selection; highest mean: {figures}.")
    level = [rule for rule in order[1:] if not positive(scores.gains(best, rule))]
    if complete < 2:
        words.append("One seed: no order between the rules can be told from noise.")
    elif level:
        words.append(f"Within noise of it: {', '.join(level)}.")
    else:
        words.append("Ahead of every other rule.")
    harmful = [rule for rule in judged if positive([-gain for gain in scores.gains(rule, "none")])]
    useless = [
        rule for rule in judged if rule not in harmful and not positive(scores.gains(rule, "none")) and complete > 1
    ]
    if useless:
        words.append(f"Not clearly different from no selection: {', '.join(useless)}.")
    if harmful and complete > 1:
        words.append(f"Worse than no selection: {', '.join(harmful)}.")
    rest = [rule for rule in scores.rules if rule not in (WARM_UP, "none", "oracle", *judged)]
    if rest:
        words.append(f"Of fewer seeds, and not judged: {', '.join(rest)}.")
    return " ".join(words)


if __name__ == "__main__":
    main()
