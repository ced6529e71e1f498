"""Classification with few labels: selection rules continue one labels-only warm-up for equal steps.

    python benchmarks/classification.py --size reduced --seeds 0 1 2
    python benchmarks/classification.py --size reduced --seeds 0 1 2 --cifar10 CIFAR10

On scikit-learn's digits, which come with it, 20, 40 and 100 labels; with `--cifar10` on CIFAR-10 from Parquet files, 40
and 250. FixMatch is trained with nothing but the rule changed; `csl + mask` is CSL's own objective, whose second view
hides trusted images. A small network. `--size full` takes 5,000 steps on the digits and 20,000 on CIFAR-10 (a GPU),
`--size reduced` 250 on both (one CPU core, up to a minute a run).

The copies of CIFAR-10 at hand may be JPEG-lossy: error rates are comparable within the table and with no published one.
The settings of the digits were chosen on the same validation images by FixMatch runs: they compare rules, and tell
nobody how well the data set can be learned. Runs are done one by one, the results file is written after each; a run
that was cut off is continued, a finished one only read. The classes of unlabelled images measure pseudo-labels, and by
the oracle alone choose them.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from pathlib import Path
from typing import Any

import classified
from recorded import MEMORY, WARM_UP, is_finished, save, seconds, spread, table, trained, training_command_line

from residual_ssl.engine.records.run_log import read_log
from residual_ssl.runtime.provenance import portable

# In order of importance, as that is the order of the runs.
METHODS = {
    "supervised": ["algorithm=supervised"],
    "no selection": ["algorithm=fixmatch", "selector=none"],
    "oracle": ["algorithm=fixmatch", "selector=oracle"],
    "fixmatch": ["algorithm=fixmatch", "selector=fixed_threshold"],
    "flexmatch": ["algorithm=fixmatch", "selector=flexmatch", "selector.momentum={memory}"],
    "freematch": ["algorithm=fixmatch", "selector=freematch", "selector.momentum={memory}"],
    "softmatch": ["algorithm=fixmatch", "selector=softmatch", "selector.rule.momentum={memory}"],
    "csl": ["algorithm=fixmatch", "selector=csl"],
    "covar": ["algorithm=fixmatch", "selector=covar"],
    "csl, window": ["algorithm=fixmatch", "selector=csl", "++selector.scope=window"],
    "csl + mask": ["algorithm=csl"],
}
LABELLED = {"digits": (20, 40, 100), "cifar10": (40, 250)}
STEPS = {  # of the warm-up, of each method after it
    "full": {"digits": (500, 5000), "cifar10": (2000, 20000)},
    "reduced": {"digits": (150, 250), "cifar10": (300, 250)},
}
MOMENTUM = {"full": 0.999, "reduced": MEMORY}  # of moving averages of rules
PARTS = 5  # of the training whose coverage and purity are told apart


def main() -> None:
    options = parse()
    rows: list[dict[str, Any]] = []
    for data, seed, method in itertools.product(options.data, options.seeds, [WARM_UP, *options.methods]):
        for labelled in LABELLED[data]:
            if options.finished and not is_finished(place(data, labelled, method, seed, options)):
                continue
            rows.append(run(data, labelled, method, seed, options))
            text = report(rows, options.size)
            save(options.out, f"classification_{options.size}", {"size": options.size, "rows": rows}, text)
    print(report(rows, options.size))


def parse() -> argparse.Namespace:
    parser = training_command_line(__doc__, STEPS, "classification")
    parser.add_argument("--data", nargs="+", choices=LABELLED, help="default: all that have their data")
    parser.add_argument("--cifar10", type=Path, help="folder with train.parquet and test.parquet")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    options = parser.parse_args()
    options.data = options.data or (["digits", "cifar10"] if options.cifar10 else ["digits"])
    if "cifar10" in options.data and not options.cifar10:
        parser.error("CIFAR-10 needs --cifar10 FOLDER")
    return options


def place(data: str, labelled: int, method: str, seed: int, options: argparse.Namespace) -> Path:
    runs: Path = options.runs
    name = method.replace(",", "").replace(" + ", "-").replace(" ", "-")
    return runs / options.size / data / f"{name}-{labelled}-{seed}"


def run(data: str, labelled: int, method: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train one method; labelled images and warm-up differ between seeds and are the same for all methods."""
    run_dir = place(data, labelled, method, seed, options)
    warm_up, after = STEPS[options.size][data]
    steps = warm_up if method == WARM_UP else after
    choice = ["algorithm=supervised"] if method == WARM_UP else METHODS[method]
    choice = [part.format(memory=MOMENTUM[options.size]) for part in choice]
    overrides = [*choice, f"steps={steps}", f"evaluate_every={steps}", "log_every=5", *options.overrides]
    if data == "digits":
        base = ["experiment=digits_classification", f"split={labelled}"]
    else:
        base = classified.cifar10(options.cifar10, labelled)
    start = [] if method == WARM_UP else [f"init_from={place(data, labelled, WARM_UP, seed, options) / 'last.pt'}"]
    where = [f"seed={seed}", f"run_dir={run_dir}"]
    row = trained([*base, *overrides, *start, *where], read_only=options.finished)
    return {
        "data": data,
        "labelled": labelled,
        "method": method,
        "seed": seed,
        "overrides": list(map(portable, overrides)),
        "error": 100 - row["last"]["accuracy"],
        **{figure: over_time(run_dir, figure) for figure in ("coverage", "purity")},
        **row,
    }


def over_time(run_dir: Path, figure: str) -> list[float]:
    """Means of a training figure over equal parts of a run, in per cent; empty where the run has none."""
    logged = read_log(run_dir)
    values = [100 * row[f"train/{figure}"] for row in logged if f"train/{figure}" in row]
    ends = [round(len(values) * part / PARTS) for part in range(PARTS + 1)]
    return [statistics.mean(values[a:b]) for a, b in itertools.pairwise(ends) if b > a]


def report(rows: list[dict[str, Any]], size: str) -> str:
    """One table a data set and number of labels. Markdown."""
    lines = [f"# Classification with few labels, {size} size", ""]
    for data, labelled in dict.fromkeys((row["data"], row["labelled"]) for row in rows):
        group = [row for row in rows if (row["data"], row["labelled"]) == (data, labelled)]
        steps = " and ".join(map(str, STEPS[size][data]))
        lines += [f"## {data}, {labelled} labels, {steps} steps", "", *method_table(group), ""]
    return "\n".join([*lines, NOTE, ""])


NOTE = (
    "Error on validation at the last step, in per cent, mean ± standard deviation over seeds. Every method continues "
    "the warm-up of its labels and seed under a new learning rate schedule. Difference: to labels only, by seed. "
    "Coverage and purity: of the pseudo-labels, first and last fifth of the training; all five are in the JSON file. "
    "The moving averages of FlexMatch, FreeMatch and SoftMatch have a momentum of .97 at the reduced size, for the "
    "published .999 is made for longer runs. CIFAR-10 here may be JPEG-lossy, the network is small: not comparable "
    "with published figures. Seconds: of training, on a machine shared with other work unless the hardware says "
    "otherwise."
)


def method_table(rows: list[dict[str, Any]]) -> list[str]:
    base = {row["seed"]: row["error"] for row in rows if row["method"] == "supervised"}
    cells = []
    for method in (WARM_UP, *METHODS):
        own = [row for row in rows if row["method"] == method]
        if not own:
            continue
        paired = [row["error"] - base[row["seed"]] for row in own if row["seed"] in base]
        cells.append(
            [
                *(method, str(len(own)), spread([row["error"] for row in own])),
                spread(paired if method not in (WARM_UP, "supervised") else []),
                *(ends([row[figure] for row in own]) for figure in ("coverage", "purity")),
                seconds(own),
            ]
        )
    head = ("method", "seeds", "error", "− labels only", "coverage, first → last", "purity, first → last", "seconds")
    return table(head, cells)


def ends(series: list[list[float]]) -> str:
    known = [values for values in series if values]
    if not known:
        return "–"
    first, last = (statistics.mean(values[end] for values in known) for end in (0, -1))
    return f"{first:.1f} → {last:.1f}"


if __name__ == "__main__":
    main()
