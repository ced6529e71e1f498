"""How well scores of certainty tell right pseudo-labels from wrong ones, in segmenting photographs.

    python benchmarks/photographs/ranking_photographs.py --runs runs/benchmarks/dense_photographs/reduced --seeds 0 1 2

RUNS is the folder of the runs of ``dense_photographs.py``: the warm-up of each ground and seed predicts its pool, as it
is. Points are ranked by each score; a point of a hidden class is wrong whatever is predicted (the risk of selective
classification with an open set). Pooled propagation labels anew, and is judged by its own labels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import torch
from comparison import WARM_UP, command_line, run_dir, save, spread, table
from dense_photographs import GROUNDS
from torch import Tensor

from residual_ssl.algorithms.fit_to_pool import fit_to_pool
from residual_ssl.diagnostics import augrc, aurc, coverage_at_risk
from residual_ssl.engine.records.trained import load_run
from residual_ssl.runtime.provenance import provenance
from residual_ssl.selection import LabelPropagation, PooledPropagation, TrustAll, certainty
from residual_ssl.selection.features import judged_points
from residual_ssl.selection.points.certainty import Score

POOLED = {"pooled propagation": 5_000, "pooled propagation, 20,000 nodes": 20_000}
SCORES: tuple[Score, ...] = get_args(Score)
_IMAGES = 16


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--runs", type=Path, required=True, help="of dense_photographs.py, with their size")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    cells = []
    for ground in GROUNDS:
        for seed in options.seeds:
            if (place := run_dir(options.runs, ground, WARM_UP, seed)).exists():
                cells.append({"ground": ground, "seed": seed, **measured(place)})
                record = {**provenance(), "cells": cells}
                save(options.out, "ranking_photographs", record, report(cells))
    print(report(cells))


@torch.no_grad()
def measured(place: Path) -> dict[str, Any]:
    """Accuracy and the three figures of each score, over all known points of the pool."""
    run = load_run(place, checkpoint_name="last.pt")
    run.model.eval()
    pool: Any = run.task.unlabelled(0)
    pooled = {}
    for name, nodes in POOLED.items():
        pooled[name] = PooledPropagation(TrustAll(), LabelPropagation(alpha=0.8, max_points=nodes)).eval()
        fit_to_pool(pooled[name], run.task, run.task.labelled(0), pool)
    scores: dict[str, list[Tensor]] = {name: [] for name in (*SCORES, *POOLED)}
    right: dict[str, list[Tensor]] = {name: [] for name in scores}
    for start in range(0, len(pool), _IMAGES):
        views = [pool.samples[i] for i in range(start, min(start + _IMAGES, len(pool)))]
        maps, truth = torch.stack([one.maps(0) for one in views]), torch.stack([one.targets(0).mask for one in views])
        logits, known = run.model(maps), truth != run.task.ignore_index
        points = judged_points(logits)
        for score in SCORES:
            scores[score].append(certainty(logits, points, score)[known])
            right[score].append((points.label == truth)[known])
        for name, selector in pooled.items():
            anew = selector(logits, features=maps)
            scores[name].append(anew.confidence[known])
            right[name].append((anew.label == truth)[known])
    joined = {name: (torch.cat(scores[name]), torch.cat(right[name])) for name in scores}
    return {
        "points": len(joined["confidence"][0]),
        "scores": {
            name: {
                "accuracy": 100 * correct.double().mean().item(),
                "aurc": 1000 * aurc(score, correct).item(),
                "augrc": 1000 * augrc(score, correct).item(),
                "coverage at 5 %": 100 * coverage_at_risk(score, correct, 0.05).item(),
            }
            for name, (score, correct) in joined.items()
        },
    }


def report(cells: list[dict[str, Any]]) -> str:
    lines = ["# Ranking of pseudo-labels in segmenting photographs", "", NOTE]
    for ground in GROUNDS:
        own = [cell["scores"] for cell in cells if cell["ground"] == ground]
        if not own:
            continue
        rows = []
        for name in (*SCORES, *POOLED):
            change = [100 * (one[name]["augrc"] / one["confidence"]["augrc"] - 1) for one in own]
            columns = [spread([one[name][key] for one in own]) for key in own[0][name]]
            rows.append([name, str(len(own)), *columns, spread(change, sign="+")])
        head = ("score", "seeds", "accuracy %", "AURC ‰", "AUGRC ‰", "coverage % at 5 % risk", "AUGRC − confidence, %")
        lines += ["", f"## {ground}", "", about(ground), "", *table(head, rows)]
    return "\n".join([*lines, ""])


def about(ground: str) -> str:
    told = GROUNDS[ground].about
    return f"{told[0].upper()}{told[1:]}."


NOTE = (
    "Of the network after the warm-up, 300 steps on 30 labelled images, over the points of the pool at an eighth of "
    "240×320, mean ± standard deviation over seeds. Lower AURC and AUGRC are better. A point of a hidden class is "
    "always wrong."
)


if __name__ == "__main__":
    main()
