"""CamVid with few labels: methods and selection rules continue one labels-only warm-up for equal steps.

    python benchmarks/segmentation_camvid.py --root CAMVID --weights MOBILENETV2 --size reduced --seeds 0

The network is DeepLabV3+ on an ImageNet MobileNetV2. `--size full` trains on 360×480 crops (a GPU), `--size reduced` on
120×160 crops of third-size images (two CPU cores); both evaluate on the 101 validation images at 480×360 against the
original masks. Runs are done one by one, the results file is written after each; a run that was cut off is continued, a
finished one only read. The masks of unlabelled images are read to measure pseudo-labels, never to learn.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from recorded import WARM_UP, is_finished, save, seconds, share, spread, table, trained, training_command_line

from residual_ssl import compose, train
from residual_ssl.engine.setup.devices import resident_memory_gib

METHODS = {
    "supervised": ["algorithm=supervised"],
    "csl": ["algorithm=csl"],
    "fixmatch": ["algorithm=fixmatch"],
    "unimatch": ["algorithm=unimatch"],
    "covar": ["algorithm=unimatch", "selector=covar"],
    "unimatch-no-selection": ["algorithm=unimatch", "selector=none"],
    "unimatch-oracle": ["algorithm=unimatch", "selector=oracle"],
}
SIZES = {
    "full": ["dataset.geometry.crop=[360,480]", "precision=bf16"],
    "reduced": [
        *("warmup_steps=50", "labelled_batch=4", "unlabelled_batch=4", "workers=0", "precision=bf16"),
        *("dataset.geometry.crop=[120,160]", "dataset.geometry.scale=[0.1667,0.6667]"),
        *("dataset.inference.scales=[0.3334]", "dataset.mask_block=11"),
        # SGD at the rate of the full size diverges here, and at a lower one learns too slowly.
        *("optimizer=adamw", "optimizer.lr=0.0005"),
    ],
}
STEPS = {"full": (1000, 2000), "reduced": (300, 100)}  # of the warm-up, of each method after it
EVALUATIONS = {"full": 4, "reduced": 1}  # of each run, the last step among them


def main() -> None:
    options = parse()
    rows: list[dict[str, Any]] = []
    for labelled, seed, method in itertools.product(options.labelled, options.seeds, [WARM_UP, *options.methods]):
        if options.finished and not is_finished(place(method, labelled, seed, options)):
            continue
        rows.append(run(method, labelled, seed, options))
        text = report(rows, options.size)
        save(options.out, f"segmentation_camvid_{options.size}", {"size": options.size, "rows": rows}, text)
    print(report(rows, options.size))


def parse() -> argparse.Namespace:
    parser = training_command_line(__doc__, SIZES, "camvid")
    parser.add_argument("--root", required=True, help="CamVid: train, trainannot, val, valannot")
    parser.add_argument("--weights", required=True, help="ImageNet weights of timm's mobilenetv2_100")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--labelled", type=int, nargs="+", default=[30], help="labelled images of 367")
    return parser.parse_args()


def run(method: str, labelled: int, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train one method with one seed; the labelled images differ between seeds and are the same for all methods."""
    warm_up, after = STEPS[options.size]
    if method == WARM_UP:
        choice = ["algorithm=supervised", f"steps={warm_up}", f"evaluate_every={warm_up // EVALUATIONS[options.size]}"]
    else:
        choice = [*METHODS[method], f"steps={after}", f"evaluate_every={after // EVALUATIONS[options.size]}"]
    overrides = [*SIZES[options.size], *choice, *options.overrides]
    places = [f"dataset.root={options.root}", f"model.weights={options.weights}"]
    places.append(f"run_dir={place(method, labelled, seed, options)}")
    if method != WARM_UP:
        places.append(f"init_from={place(WARM_UP, labelled, seed, options) / 'last.pt'}")
    settings = ["experiment=camvid", f"dataset.labelled={labelled}", "dataset.unlabelled_truth=true", f"seed={seed}"]
    settings += [*places, *overrides]
    row = trained(settings, read_only=options.finished)
    on_cpu = row["peak_memory_gib"] is None and not options.finished
    return {
        "method": method,
        "labelled": labelled,
        "seed": seed,
        "overrides": overrides,
        **row,
        "resident_memory_gib": resident_memory(compose(settings)) if on_cpu else None,
    }


def place(method: str, labelled: int, seed: int, options: argparse.Namespace) -> Path:
    runs: Path = options.runs
    return runs / options.size / f"{method}-{labelled}-{seed}"


def resident_memory(config: dict[str, Any]) -> float:
    """Largest resident set, GiB, of a new process that takes one step of a run on the CPU; it keeps nothing."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as fresh:
        return fresh.submit(_memory_of_one_step, {**config, "dry_run": True}).result()


def _memory_of_one_step(config: dict[str, Any]) -> float:
    train(config)
    return resident_memory_gib()


def report(rows: list[dict[str, Any]], size: str) -> str:
    """Mean ± standard deviation over seeds, and the difference to labels only, paired by seed, as Markdown."""
    head = ("labels", "method", "seeds", "mIoU last", "mIoU best", "last − labels only, paired", "coverage %")
    cells = []
    for labelled in sorted({row["labelled"] for row in rows}):
        group = [row for row in rows if row["labelled"] == labelled]
        base = {row["seed"]: row["last"]["miou"] for row in group if row["method"] == "supervised"}
        for method in (WARM_UP, *METHODS):
            own = [row for row in group if row["method"] == method]
            if not own:
                continue
            paired = [row["last"]["miou"] - base[row["seed"]] for row in own if row["seed"] in base]
            cells.append(
                [
                    *(str(labelled), method, str(len(own))),
                    spread([row["last"]["miou"] for row in own]),
                    spread([row["best"]["miou"] for row in own]),
                    spread(paired if method not in (WARM_UP, "supervised") else []),
                    *(share(own, "coverage"), share(own, "purity"), seconds(own), memory(own)),
                ]
            )
    warm_up, after = STEPS[size]
    note = (
        f"Every method continues the warm-up of its labels and seed: {warm_up} steps on labels, then {after} "
        "steps each under a new learning rate schedule. Coverage and purity: weighted means over the last 100 training "
        "steps, of the unlabelled batch. Peak GiB: of tensors on a GPU; on a CPU what a new process holds at most, "
        "libraries included, while it takes one step. Seconds: of training; to be compared where the hardware of the "
        "rows, threads included, agrees."
    )
    lines = table((*head, "purity %", "seconds", "peak GiB"), cells)
    return "\n".join([f"# CamVid, {size} size", "", *lines, "", note, ""])


def memory(rows: list[dict[str, Any]]) -> str:
    found = [row["peak_memory_gib"] or row.get("resident_memory_gib") for row in rows]
    return f"{max(known):.2f}" if (known := [gib for gib in found if gib]) else "–"


if __name__ == "__main__":
    main()
