"""Whether ConformalSelector keeps the error rate that it is asked for on photographs, clean and contaminated.

    python benchmarks/error_rate.py --cifar10 CIFAR10 --weights LITE0 --draws 100

CIFAR-10 (JPEG-lossy copies), features of a frozen ImageNet network as in photographs.py. A logistic regression learns
from 25 images of each of six animals; others with labels, 150 or 600, are held out for the selector, and a thousand
more are the pool, for every draw anew. In a contaminated pool two fifths are vehicles; the selector knows of them only
where two fifths of the held-out images are vehicles, too.
"""

from __future__ import annotations

import itertools
import statistics
from functools import partial
from pathlib import Path
from typing import Any

import torch
from classified import ANIMALS
from photographs import divided
from recorded import command_line, save, spread, table
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from residual_ssl.data import HuggingFaceImages
from residual_ssl.diagnostics import coverage_at_risk
from residual_ssl.runtime.provenance import provenance
from residual_ssl.selection import ConformalSelector, FixedThreshold
from residual_ssl.tasks.classification import FlipAndCrop
from residual_ssl.tasks.features import FrozenBackbone, FrozenFeatures

LEVELS = (0.05, 0.1, 0.2)
LABELLED, POOL, HELD_OUT = 150, 1000, (150, 600)
# Share of vehicles in the pool, and among the held-out images.
POOLS = {
    "clean": (0.0, 0.0),
    "contaminated, and so are the held-out images": (0.4, 0.4),
    "contaminated, and the held-out images are clean": (0.4, 0.0),
}


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--cifar10", type=Path, required=True, help="folder with train.parquet")
    parser.add_argument("--weights", type=Path, required=True, help="of tf_efficientnet_lite0, .safetensors")
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks/photographs"), help="folder of the images")
    options = parser.parse_args()
    vectors, labels = features(options)
    rows = []
    for seed in range(options.draws):
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
        animals, vehicles = order[labels[order] >= 0], order[labels[order] < 0]
        logits = predicted(vectors, labels, animals[:LABELLED])
        for pool, held_out in itertools.product(POOLS, HELD_OUT):
            parts = divide(animals[LABELLED:], vehicles, pool, held_out)
            cells = judged(logits, labels, *parts)
            rows += [{"pool": pool, "held_out": held_out, "seed": seed, **cell} for cell in cells]
    text = "\n".join(["# Error rates on photographs", "", NOTE.format(options.draws), "", *summary(rows), ""])
    save(options.out, "error_rate", {"draws": options.draws, **provenance(), "rows": rows}, text)
    print(text)


def features(options: Any) -> tuple[Tensor, Tensor]:
    """Features ``(N, D)`` of 12,000 training images, and their classes; -1 for vehicles."""
    folder = options.runs / "data" / "cifar10"
    if not (folder / "train.parquet").exists():
        divided("cifar10", options, folder)
    images = partial(
        HuggingFaceImages, "parquet", ANIMALS, "train", data_files={"train": str(folder / "train.parquet")}
    )
    weak, half = FlipAndCrop(96, padding=12), (0.5, 0.5, 0.5)
    samples = FrozenFeatures(
        images, FrozenBackbone("tf_efficientnet_lite0", weak, options.weights, half, half), views=2
    )
    return torch.stack([samples[i].image[0] for i in range(len(samples))]), torch.tensor(samples.labels)


def predicted(vectors: Tensor, labels: Tensor, labelled: Tensor) -> Tensor:
    """Logits ``(N, K)`` of all images by a logistic regression on those at the places ``labelled``."""
    x = (vectors - vectors[labelled].mean(0)) / vectors[labelled].std(0).clamp(min=1e-3)
    fitted = LogisticRegression(C=0.01, max_iter=500).fit(x[labelled].numpy(), labels[labelled].numpy())
    return torch.from_numpy(fitted.decision_function(x.numpy()))


def divide(animals: Tensor, vehicles: Tensor, pool: str, held_out: int) -> tuple[Tensor, Tensor]:
    """Places of the held-out images and of the pool's."""
    in_pool, known = POOLS[pool]
    strange = int(known * held_out)
    held = torch.cat([animals[: held_out - strange], vehicles[:strange]])
    of_pool = int(in_pool * POOL)
    rest = animals[held_out : held_out + POOL - of_pool], vehicles[strange : strange + of_pool]
    return held, torch.cat(rest)


def judged(logits: Tensor, labels: Tensor, held: Tensor, pool: Tensor) -> list[dict[str, float]]:
    """Error rate and coverage of the pool's pseudo-labels at each level."""
    rows = []
    for level in LEVELS:
        chosen = ConformalSelector(level).fit(logits[held], labels[held])(logits[pool])
        right = chosen.label == labels[pool]
        fixed = FixedThreshold(1 - level)(logits[pool])
        rows.append(
            {
                **{"level": level, "error": error(chosen.trusted, right), "coverage": chosen.coverage.item()},
                "hindsight": coverage_at_risk(chosen.confidence, right, level).item(),
                **{"fixed_error": error(fixed.trusted, right), "fixed_coverage": fixed.coverage.item()},
            }
        )
    return rows


def error(trusted: Tensor, right: Tensor) -> float:
    """Share of wrong pseudo-labels among the trusted ones, 0 where none is trusted."""
    return float((~right & trusted).sum() / trusted.sum().clamp(min=1))


NOTE = (
    "Share of wrong pseudo-labels among the trusted ones, and coverage, in per cent: means over {} draws, ± standard "
    "deviation. Hindsight: the largest coverage of any threshold on the confidence whose error rate on this very pool "
    "is at most the level. 1 − level: FixedThreshold(1 − level), which takes a confidence for a probability."
)


def summary(rows: list[dict[str, Any]]) -> list[str]:
    cells = []
    for pool in POOLS:
        for held_out in HELD_OUT:
            for level in LEVELS:
                own = [r for r in rows if (r["pool"], r["held_out"], r["level"]) == (pool, held_out, level)]
                values = {key: [100 * row[key] for row in own] for key in own[0] if isinstance(own[0][key], float)}
                cells.append(
                    [
                        *(pool, str(held_out), f"{100 * level:.0f}", spread(values["error"])),
                        *(spread(values["coverage"]), f"{statistics.mean(values['hindsight']):.1f}"),
                        *(spread(values["fixed_error"]), spread(values["fixed_coverage"])),
                    ]
                )
    head = ("pool", "held out", "level %", "error %", "coverage %", "hindsight %", "1 − level: error %", "coverage %")
    return table(head, cells)


if __name__ == "__main__":
    main()
