"""Whether labelling the images that `residual-ssl query` asks for helps more than labelling others at random.

    python benchmarks/photographs/query.py --pacs PACS --weights LITE0 --seeds 0 1 2 3 4

PACS photographs of seven classes, half of them for validation; a linear classifier on the features of a frozen ImageNet
network, as in photographs.py. It learns from four images of each class; then 28 more of the pool get their true labels,
those of a query or as many drawn at random, and a new classifier learns from both.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from comparison import PACS, positive, save, spread, table, trained, training_command_line
from datasets import load_dataset
from photographs import TRAINING

from residual_ssl.commands.pools import query
from residual_ssl.runtime.provenance import portable

FIRST = "the first 28"
CHOICES = {"query": "by query", "random": "at random"}
SIZES = {"reduced": 200}


def main() -> None:
    parser = training_command_line(__doc__, SIZES, "query")
    parser.add_argument("--pacs", type=Path, required=True, help="folder with photo.parquet")
    parser.add_argument("--weights", type=Path, required=True, help="of tf_efficientnet_lite0, .safetensors")
    parser.add_argument("--budget", type=int, default=28, help="images to label next")
    options = parser.parse_args()
    folder = options.runs / "data"
    if not (folder / "validation.parquet").exists():
        images = load_dataset("parquet", data_files=str(options.pacs / "photo.parquet"), split="train").shuffle(seed=0)
        folder.mkdir(parents=True, exist_ok=True)
        half = len(images) // 2
        images.select(range(half)).to_parquet(folder / "train.parquet")
        images.select(range(half, len(images))).to_parquet(folder / "validation.parquet")
    rows: list[dict[str, Any]] = []
    for seed in options.seeds:
        rows += of_seed(options, folder, seed)
        save(options.out, "query", {"budget": options.budget, "rows": rows}, report(rows, options.budget))
    print(report(rows, options.budget))


def of_seed(options: Any, folder: Path, seed: int) -> list[dict[str, Any]]:
    """The first classifier of a seed, and those after each way to choose."""
    table_of_all = pq.read_table(folder / "train.parquet")
    labels = table_of_all["label"].to_pylist()
    draw = random.Random(seed)
    first = sorted(
        place for label in range(7) for place in draw.sample([i for i, y in enumerate(labels) if y == label], 4)
    )
    rest = [place for place in range(len(labels)) if place not in set(first)]
    rows = [fitted(options, folder, FIRST, seed, first, labels)]
    run = place_of(options, FIRST, seed)
    pool = options.runs / f"pool-{seed}.parquet"
    pq.write_table(table_of_all.select(["image"]).take(rest), pool)
    out = options.runs / f"query-{seed}"
    shutil.rmtree(out, ignore_errors=True)
    asked = query(run, pool, out, options.budget, checkpoint_name="last.pt", max_errors=0)
    chosen = {
        "query": [rest[int(name.rpartition("/")[2])] for name in asked.images],
        "random": random.Random(1000 + seed).sample(rest, options.budget),
    }
    for name, places in chosen.items():
        rows.append(fitted(options, folder, name, seed, sorted([*first, *places]), labels))
    return rows


def fitted(options: Any, folder: Path, name: str, seed: int, places: list[int], labels: list[int]) -> dict[str, Any]:
    """Train on the true labels of some images."""
    listed = options.runs / f"{name.replace(' ', '-')}-{seed}.txt"
    listed.write_text("".join(f"train/{place:06d}\n" for place in places))
    steps = SIZES[options.size]
    overrides = [*TRAINING, "algorithm=supervised", f"steps={steps}", f"evaluate_every={steps}", f"seed={seed}"]
    where = [
        *("dataset=frozen_images", "dataset.path=parquet", f"dataset.classes=[{','.join(PACS)}]"),
        f"dataset.data_files={{train:'{folder / 'train.parquet'}',validation:'{folder / 'validation.parquet'}'}}",
        *(f"dataset.labelled={listed}", "split=28", "dataset.size=128", "dataset.padding=16", "dataset.views=2"),
        *("dataset.backbone.name=tf_efficientnet_lite0", f"dataset.backbone.weights={options.weights}"),
        *("dataset.mean=[0.5,0.5,0.5]", "dataset.std=[0.5,0.5,0.5]", f"run_dir={place_of(options, name, seed)}"),
    ]
    row = trained([*where, *overrides, *options.overrides], read_only=options.finished)
    row.pop("best")
    counts = {PACS[k]: sum(labels[place] == k for place in places) for k in range(7)}
    return {"choice": name, "seed": seed, "labels": counts, "overrides": list(map(portable, overrides)), **row}


def place_of(options: Any, name: str, seed: int) -> Path:
    runs: Path = options.runs
    return runs / f"{name.replace(' ', '-')}-{seed}"


def report(rows: list[dict[str, Any]], budget: int) -> str:
    of = {name: {row["seed"]: row["last"] for row in rows if row["choice"] == name} for name in (FIRST, *CHOICES)}
    cells = []
    for name, found in of.items():
        metrics = [[last[key] for last in found.values()] for key in ("accuracy", "balanced_accuracy")]
        cells.append([FIRST if name == FIRST else f"and {budget} {CHOICES[name]}", *map(spread, metrics)])
    gains = [of["query"][seed]["accuracy"] - of["random"][seed]["accuracy"] for seed in of["query"]]
    says = (
        "clear of the noise between seeds"
        if len(gains) > 1 and positive(gains)
        else "not clear of the noise between seeds"
    )
    paired = f"Query − random, paired by seed: {spread(gains, sign='+')} points of accuracy, {says}."
    lines = table(("labels", "accuracy", "balanced"), cells)
    return "\n".join(["# Which images to label next", "", NOTE, "", *lines, "", paired, ""])


NOTE = (
    "PACS photographs, seven classes, features of a frozen network, labels only; accuracy on 835 others, mean ± "
    "standard deviation over seeds."
)


if __name__ == "__main__":
    main()
