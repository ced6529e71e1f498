"""A poisoned pool: how far a trigger in a small share of the unlabelled images gets through each selector.

    python benchmarks/poisoned_pool.py [--size reduced] [--seeds 0 1 2] [--runs FOLDER] [--out FOLDER]

The embedded digits, or CIFAR-10 from Parquet files (--data FOLDER). A share of the pool, images of the target class,
carries a grid of bright points (arXiv 2211.00453); no label is touched. Attack success: the share of validation images
of the other classes that are predicted as the target once they carry the grid. Runs are resumed where they stopped.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))

from classified import cifar10
from recorded import MEMORY, is_finished, save, table, training_command_line

from residual_ssl import compose, train
from residual_ssl.commands.load import load
from residual_ssl.config.components import build
from residual_ssl.runtime.provenance import provenance

SHARES = (0.0, 0.005, 0.01, 0.02)
TARGET = 0
SELECTORS = {
    "none": ["selector=none"],
    ".95": ["selector=fixed_threshold"],
    "flexmatch": ["selector=flexmatch", f"++selector.momentum={MEMORY}"],
    "freematch": ["selector=freematch", f"++selector.momentum={MEMORY}"],
    "softmatch": ["selector=softmatch", f"++selector.rule.momentum={MEMORY}", f"++selector.momentum={MEMORY}"],
    "csl": ["selector=csl", "++selector.scope=window"],
    "oracle": ["selector=oracle"],
}
LABELS_ONLY = "labels only"
SIZES = {"reduced": 400, "tiny": 4}


def main(arguments: list[str] | None = None) -> None:
    parser = training_command_line(__doc__, SIZES, "poisoned")
    parser.add_argument("--data", type=Path, help="folder of CIFAR-10's train.parquet and test.parquet; else digits")
    options = parser.parse_args(arguments)
    rows = []
    for seed in options.seeds:
        for share in SHARES:
            for name in [LABELS_ONLY, *SELECTORS]:
                if name != LABELS_ONLY or share == 0:
                    rows.append(row(options, name, share, seed))
                    print(
                        {key: rows[-1][key] for key in ("selector", "share", "seed", "accuracy", "success")}, flush=True
                    )
    ground = "digits" if options.data is None else "cifar10"
    text = written(rows, ground, options.size)
    save(options.out, f"poisoned_pool_{ground}_{options.size}", {**provenance(), "rows": rows}, text)
    print(text)


def row(options: Any, name: str, share: float, seed: int) -> dict[str, Any]:
    """Train one run, or read it, and attack it."""
    run_dir = options.runs / f"{name.replace(' ', '-')}-{share}-{seed}"
    data = (
        ["experiment=digits_classification", "dataset.labelled=40"]
        if options.data is None
        else cifar10(options.data, 250)
    )
    method = ["algorithm=supervised"] if name == LABELS_ONLY else ["algorithm=fixmatch", *SELECTORS[name]]
    steps = SIZES[options.size]
    short = [f"steps={steps}", f"evaluate_every={steps}", f"seed={seed}", f"run_dir='{run_dir}'", *options.overrides]
    config = compose([*data, *method, *short])
    clean = config["task"]["source"]
    poisoned = {"_target_": "residual_ssl.data.PoisonedPool", "_partial_": True, "source": clean}
    config["task"]["source"] = {**poisoned, "share": share, "target": TARGET, "seed": seed}
    if not (options.finished and is_finished(run_dir)):
        train(config)
    source: Any = build(config["task"], "task").source
    network = load(run_dir, checkpoint_name="last.pt")
    marked = torch.stack([sample.image for sample in source.attacked])
    shown = torch.stack([network.task.weak.plain(image) for image in marked])
    predicted = torch.cat([network.task.predict(network.network, part) for part in shown.split(256)]).argmax(1)
    result = train(config)
    return {
        **{"selector": name, "share": share, "seed": seed, "poisoned": len(source.unlabelled.marked)},
        "accuracy": result.last["accuracy"],
        "success": 100 * (predicted == TARGET).double().mean().item(),
        "coverage": result.training.get("coverage"),
    }


def written(rows: list[dict[str, Any]], ground: str, size: str) -> str:
    """The table: a row for each selector, accuracy and attack success for each share, means over the seeds."""
    seeds = sorted({entry["seed"] for entry in rows})
    cells = []
    for name in [LABELS_ONLY, *SELECTORS]:
        line = [name]
        for share in SHARES:
            found = [entry for entry in rows if entry["selector"] == name and entry["share"] == share]
            means = [statistics.mean(entry[key] for entry in found) for key in ("accuracy", "success")] if found else []
            line += [f"{value:.1f}" for value in means] or ["", ""]
        cells.append(line)
    header = ["selector", *(f"{what} {100 * share:g} %" for share in SHARES for what in ("accuracy", "attack"))]
    return "\n".join(
        [
            f"# A poisoned pool: {ground}, {size}",
            "",
            f"Per cent, means over seeds {', '.join(map(str, seeds))}. A share of the pool carries a grid of bright",
            "points and shows the target class. Attack: validation images of other classes that carry the grid and are",
            "predicted as the target.",
            "",
            *table(header, cells),
            "",
        ]
    )


if __name__ == "__main__":
    main()
