"""Unsupervised domain adaptation: baselines and selection rules continue one source-only warm-up for equal steps.

    python benchmarks/adaptation.py --data DATA --weights MOBILENETV2 --size reduced --seeds 0

DATA holds `pacs/DOMAIN.parquet`, `mnist/` and `mnist_m/{train,test}.parquet`; the pair of digit scenes is embedded and
needs none. `--size full` trains on all images, PACS on a ResNet-50 at 224 pixels (a GPU), `--size reduced` on 1,000
images of a domain drawn once, PACS on an ImageNet MobileNetV2 at 64 pixels (a minute a run on one CPU core). Runs are
done one by one, the results file is written after each; a run that was cut off is continued, a finished one only read.
Labels of the target are read to measure, never to learn or to choose.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

from recorded import MEMORY, WARM_UP, is_finished, save, seconds, share, spread, table, trained, training_command_line

from residual_ssl.engine.records.run_log import read_log
from residual_ssl.runtime.provenance import portable

MASKED = (
    "+algorithm.branches.masked={_target_:residual_ssl.algorithms.InputBranch,weight:0.5,"
    "mask:{_target_:residual_ssl.TrustedMask,block:'${dataset.mask_block}'}}"
)
# Rules change nothing but the selector of one loss: L = (L_x + L_strong) / 2.
METHODS = {
    "source only": ["algorithm=supervised"],
    "DANN": ["algorithm=dann"],
    "CDAN": ["algorithm=cdan"],
    "MCC": ["algorithm=mcc"],
    "no selection": ["algorithm=fixmatch", "selector=none"],
    "oracle": ["algorithm=fixmatch", "selector=oracle"],
    "fixed threshold": ["algorithm=fixmatch", "selector=fixed_threshold"],
    "SoftMatch": ["algorithm=fixmatch", "selector=softmatch", f"selector.rule.momentum={MEMORY}"],
    "CSL": ["algorithm=fixmatch", "selector=csl"],
    "CoVar": ["algorithm=fixmatch", "selector=covar"],
    "AdaMatch": ["algorithm=fixmatch", "selector=adamatch", f"+selector.momentum={MEMORY}"],
    "CSL + alignment": [
        *("algorithm=fixmatch", "selector=adamatch", f"+selector.momentum={MEMORY}", "~selector.rule.fraction"),
        "selector.rule._target_=residual_ssl.ConvexSelector",
    ],
    "CSL + TrustedMask": ["algorithm=fixmatch", "selector=csl", MASKED],
    "ReliableRegions": ["algorithm=fixmatch", "selector=reliable_regions"],
}
# Labelled images are augmented as strongly as the others, in every method.
AUGMENTED = "task.labelled={_target_:residual_ssl.perturbations.RandAugment}"
CLASSIFIERS_ONLY = ("DANN", "CDAN")
SCENES_ONLY = ("ReliableRegions",)
PAIRS = {
    "photo-sketch": ["experiment=pacs", "source=photo", "target=sketch", AUGMENTED],
    "photo-cartoon": ["experiment=pacs", "source=photo", "target=cartoon", AUGMENTED],
    "art-photo": ["experiment=pacs", "source=art_painting", "target=photo", AUGMENTED],
    "mnist-mnist_m": ["experiment=mnist_to_mnist_m", AUGMENTED],
    "digit-scenes": ["experiment=adapt_digit_scenes"],
}
SIZES = {
    "full": {
        "pacs": ["model=timm_classifier", "model.backbone=resnet50", "optimizer.lr=0.0001", "head_lr_multiplier=10"],
        "mnist_to_mnist_m": ["model=wrn_28_2", "optimizer.lr=0.001"],
        "adapt_digit_scenes": [],
    },
    "reduced": {
        "pacs": [
            *("model=timm_classifier", "model.backbone=mobilenetv2_100", "optimizer.lr=0.0003", "workers=0"),
            *("head_lr_multiplier=10", "dataset.weak.size=64", "dataset.weak.padding=8", "dataset.mask_block=16"),
            *("labelled_batch=16", "unlabelled_batch=16", "warmup_steps=10", "model.freeze_batchnorm=true"),
        ],
        "mnist_to_mnist_m": [
            *("model=small_classifier", "+model.widths=[16,32,64]", "optimizer.lr=0.002", "warmup_steps=20"),
            *("labelled_batch=32", "unlabelled_batch=32"),
        ],
        "adapt_digit_scenes": ["warmup_steps=20"],
    },
}
AFTER = {  # the rate of the methods: at the warm-up's, small batches of pseudo-labels collapse to one class
    "full": {"pacs": [], "mnist_to_mnist_m": [], "adapt_digit_scenes": []},
    "reduced": {
        "pacs": ["optimizer.lr=0.0001"],
        "mnist_to_mnist_m": ["optimizer.lr=0.0003"],
        "adapt_digit_scenes": [],
    },
}
STEPS = {  # of the warm-up, of each method after it
    "full": {"pacs": (500, 5000), "mnist_to_mnist_m": (1000, 5000), "adapt_digit_scenes": (300, 1500)},
    "reduced": {"pacs": (300, 80), "mnist_to_mnist_m": (1200, 150), "adapt_digit_scenes": (600, 150)},
}
EVALUATIONS = 2  # of each run, the last step among them
DRAWN = 1000  # images of a set at the reduced size


def main() -> None:
    options = parse()
    rows: list[dict[str, Any]] = []
    for seed, pair, method in itertools.product(options.seeds, options.pairs, [WARM_UP, *options.methods]):
        if method in (CLASSIFIERS_ONLY if experiment_of(pair) == "adapt_digit_scenes" else SCENES_ONLY):
            continue
        if options.finished and not is_finished(place(pair, method, seed, options)):
            continue
        rows.append(run(method, pair, seed, options))
        text = report(rows, options.size)
        save(options.out, f"adaptation_{options.size}", {"size": options.size, "rows": rows}, text)
    print(report(rows, options.size))


def parse() -> argparse.Namespace:
    parser = training_command_line(__doc__, SIZES, "adaptation")
    parser.add_argument("--data", type=Path, help="folder of pacs, mnist and mnist_m; not needed for digit-scenes")
    parser.add_argument("--weights", default="imagenet", help="ImageNet weights of the PACS network; imagenet: timm's")
    parser.add_argument("--pairs", nargs="+", choices=PAIRS, default=list(PAIRS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    options = parser.parse_args()
    if options.data is None and any(experiment_of(pair) != "adapt_digit_scenes" for pair in options.pairs):
        parser.error("--data: none given, expected the folder of pacs, mnist and mnist_m; or --pairs digit-scenes")
    return options


def experiment_of(pair: str) -> str:
    return PAIRS[pair][0].removeprefix("experiment=")


def run(method: str, pair: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train one method on one pair with one seed."""
    experiment = experiment_of(pair)
    run_dir = place(pair, method, seed, options)
    warm_up, after = STEPS[options.size][experiment]
    steps = warm_up if method == WARM_UP else after
    choice = [*METHODS["source only" if method == WARM_UP else method], f"steps={steps}"]
    choice.append(f"evaluate_every={max(1, steps if method == WARM_UP else steps // EVALUATIONS)}")
    if method != WARM_UP:
        choice += AFTER[options.size][experiment]
        choice.append(f"init_from={place(pair, WARM_UP, seed, options) / 'last.pt'}")
    overrides = [*PAIRS[pair], *SIZES[options.size][experiment], *choice, "task.choose_by=unsupervised_infomax"]
    where = [f"seed={seed}", f"run_dir={run_dir}"]
    if experiment != "adapt_digit_scenes":
        where.append(f"dataset.root={data_of(experiment, options)}")
    if experiment == "pacs":
        where.append(f"model.weights={options.weights}")
    overrides += options.overrides
    row = trained([*overrides, *where], read_only=options.finished)
    return {
        "pair": pair,
        "method": method,
        "seed": seed,
        "overrides": list(map(portable, overrides)),
        "best_by_labels": max(logged.get(f"validation/{row['metric']}", 0.0) for logged in read_log(run_dir)),
        **row,
    }


def place(pair: str, method: str, seed: int, options: argparse.Namespace) -> Path:
    runs: Path = options.runs
    return runs / options.size / f"{pair}-{method.replace(' ', '_')}-{seed}"


def data_of(experiment: str, options: argparse.Namespace) -> Path:
    """The folder of a pair's data: at the reduced size one with a part of the images, drawn once for all runs."""
    from datasets import load_dataset

    root: Path = options.data / "pacs" if experiment == "pacs" else options.data
    if options.size == "full":
        return root
    drawn: Path = options.runs / "data" / experiment
    files = "*.parquet" if experiment == "pacs" else "mnist*/*.parquet"
    for file in sorted(root.glob(files)):
        part = drawn / file.relative_to(root)
        if not part.exists():
            table = load_dataset("parquet", data_files=str(file), split="train").shuffle(seed=0)
            part.parent.mkdir(parents=True, exist_ok=True)
            table.select(range(min(DRAWN, len(table)))).to_parquet(part)
    return drawn


def report(rows: list[dict[str, Any]], size: str) -> str:
    """Mean ± standard deviation over seeds, and the difference to source only, paired by seed, as Markdown."""
    head = ("pair", "method", "seeds", "last", "− source only, paired", "best by InfoMax", "best by labels", "InfoMax")
    cells = []
    for pair in PAIRS:
        group = [row for row in rows if row["pair"] == pair]
        base = {row["seed"]: score(row) for row in group if row["method"] == "source only"}
        for method in (WARM_UP, *METHODS):
            own = [row for row in group if row["method"] == method]
            if not own:
                continue
            paired = [score(row) - base[row["seed"]] for row in own if row["seed"] in base]
            cells.append(
                [
                    *(pair, method, str(len(own))),
                    spread([score(row) for row in own]),
                    spread(paired if method not in (WARM_UP, "source only") else []),
                    spread([row["best"][row["metric"]] for row in own]),
                    spread([row["best_by_labels"] for row in own]),
                    spread([row["last"]["unsupervised_infomax"] for row in own]),
                    spread([row["last"][key] for row in own if (key := "unsupervised_density") in row["last"]]),
                    *(share(own, "coverage"), share(own, "purity"), seconds(own)),
                ]
            )
    lengths = ", ".join(f"{name} {warm} + {after}" for name, (warm, after) in STEPS[size].items())
    note = (
        "Accuracy in % on the target (mIoU of the digit scenes). Every method continues the source-only warm-up of its "
        f"pair and seed under a new learning rate schedule; steps: {lengths}. Best: of the evaluations of a run, the "
        "one that InfoMax chose without labels, and the one that the labels would have chosen. Coverage and purity: of "
        "the target's pseudo-labels, weighted means over the last 100 training steps. PACS is evaluated on the images "
        "that are adapted to, whose labels no method sees; weights whose BatchNorm statistics were measured on images "
        "of PACS have seen the target, unlabelled. "
        "Seconds: of training; to be compared where the hardware of the rows, threads included, agrees."
    )
    lines = table((*head, "density", "coverage %", "purity %", "seconds"), cells)
    return "\n".join([f"# Domain adaptation, {size} size", "", *lines, "", note, ""])


def score(row: dict[str, Any]) -> float:
    value: float = row["last"][row["metric"]]
    return value


if __name__ == "__main__":
    main()
