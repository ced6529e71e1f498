"""Digit scenes whose unlabelled pool is mostly letters: selection rules continue one labels-only warm-up, equal steps.

    python benchmarks/contaminated_pools.py --size reduced --seeds 0 1

60 % of the unlabelled scenes hold printed letters, which no pseudo-label can match; 48 scenes are labelled. UniMatch is
trained with nothing but the rule changed. The data are embedded: nothing is read from outside. `--size full` takes 800
unlabelled scenes and 300 steps after the warm-up, `--size reduced` 400 and 150 (one CPU core, a minute a run). Runs are
done one by one, the results file is written after each; a run that was cut off is continued, a finished one only read.
The truth of unlabelled scenes is read to measure pseudo-labels, and by the oracle alone to choose them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
from pathlib import Path
from typing import Any

from residual_ssl import compose, train

# In order of importance, as that is the order of the runs.
RULES = {
    "none": ["selector=none"],
    "oracle": ["selector=oracle"],
    "reliable regions": ["selector=reliable_regions"],
    "csl": ["selector=csl"],
    "confidence": ["selector=ael"],
    "fixed .95": ["selector=fixed_threshold"],
    "image share (daformer)": ["selector=daformer"],
    "covar": ["selector=covar"],
    "softmatch": ["selector=softmatch"],
}
WARM_UP = "warm-up"
SIZES = {"full": ["dataset.source.unlabelled=800"], "reduced": ["dataset.source.unlabelled=400"]}
STEPS = {"full": (300, 300), "reduced": (300, 150)}  # of the warm-up, of each rule after it


def main() -> None:
    options = parse()
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"contaminated_pools_{options.size}.json"
    rows: list[dict[str, Any]] = []
    for seed, rule in itertools.product(options.seeds, [WARM_UP, *options.rules]):
        rows.append(run(rule, seed, options))
        record = {"benchmark": "contaminated_pools", "size": options.size, "rows": rows}
        path.write_text(json.dumps(record, indent=2) + "\n")
        path.with_suffix(".md").write_text(table(rows, options.size))
    print(table(rows, options.size))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="reduced")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rules", nargs="+", choices=RULES, default=list(RULES))
    parser.add_argument("--letters", type=float, default=0.6, help="share of unlabelled scenes that hold letters")
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks/contaminated_pools"), help="their folder")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--set", nargs="+", default=[], dest="overrides", metavar="KEY=VALUE", help="for every run")
    return parser.parse_args()


def run(rule: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train with one rule and seed; scenes and warm-up differ between seeds and are the same for all rules."""
    folder = options.runs / options.size
    run_dir = folder / f"{_name(rule)}-{seed}"
    warm_up, after = STEPS[options.size]
    if rule == WARM_UP:
        choice = ["algorithm=supervised", f"steps={warm_up}", f"evaluate_every={warm_up}"]
    else:
        choice = ["algorithm=unimatch", *RULES[rule], f"steps={after}", f"evaluate_every={after}"]
        choice.append(f"init_from={folder / f'{WARM_UP}-{seed}' / 'last.pt'}")
    overrides = [f"dataset.source.letters={options.letters}", *SIZES[options.size], *choice, *options.overrides]
    config = compose(["experiment=digits", f"seed={seed}", f"run_dir={run_dir}", *overrides])
    train(config)
    result = json.loads((run_dir / "result.json").read_text())
    figures = ("last", "training", "seconds", "peak_memory_gib")
    origin = ("command", "python", "versions", "hardware", "commit")
    return {
        "rule": rule,
        "seed": seed,
        "steps": config["steps"],
        "overrides": overrides,
        **{key: result[key] for key in (*figures, *origin)},
    }


def _name(rule: str) -> str:
    return "-".join("".join(c if c.isalnum() or c == "-" else " " for c in rule).split())


def table(rows: list[dict[str, Any]], size: str) -> str:
    """Mean ± standard deviation over seeds; differences and gaps are paired by seed. Markdown."""
    miou = {(row["rule"], row["seed"]): row["last"]["miou"] for row in rows}
    seeds = sorted({row["seed"] for row in rows})
    lines = [
        f"# Contaminated pools, {size} size",
        "",
        "| rule | seeds | mIoU | − none | gap closed % | coverage % | purity % | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for rule in (WARM_UP, *RULES):
        own = [row for row in rows if row["rule"] == rule]
        if not own:
            continue
        compared = [seed for seed in seeds if (rule, seed) in miou and ("none", seed) in miou and rule != WARM_UP]
        gained = {seed: miou[rule, seed] - miou["none", seed] for seed in compared}
        gaps = {seed: miou["oracle", seed] - miou["none", seed] for seed in compared if ("oracle", seed) in miou}
        cells = [
            *(rule, str(len(own)), spread([row["last"]["miou"] for row in own])),
            *(spread(list(gained.values())), spread([100 * gained[seed] / gap for seed, gap in gaps.items() if gap])),
            *(
                spread([100 * row["training"][figure] for row in own if figure in row["training"]])
                for figure in ("coverage", "purity")
            ),
            f"{statistics.mean(row['seconds'] for row in own):.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    warm_up, after = STEPS[size]
    note = (
        f"Every rule continues the warm-up of its seed: {warm_up} steps on labels, then {after} steps of UniMatch "
        "under a new learning rate schedule. Gap closed: (rule − none) / (oracle − none), by seed. Coverage and "
        "purity: weighted means over the last 100 training steps, of the unlabelled batch. Seconds: of training; to be "
        "compared where the hardware of the rows, threads included, agrees."
    )
    return "\n".join([*lines, "", note, ""])


def spread(values: list[float]) -> str:
    if not values:
        return "–"
    mean = f"{statistics.mean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.1f}"


if __name__ == "__main__":
    main()
