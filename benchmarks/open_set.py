"""A contaminated pool: what open-set methods and selectors learn beside strangers, and whether they tell them.

    python benchmarks/open_set.py [--size reduced] [--seeds 0 1 2] [--runs FOLDER] [--out FOLDER]

The embedded digits: 0 to 5 are classes, four labelled samples of each; the pool holds 6 to 9 as well (four tenths of
it). Accuracy is of held-out samples of the known classes, AUROC of held-out digits of all ten, unknown against known:
by the detector of a method where it has one, by one minus the confidence of its classifier in any case. Runs are
resumed where they stopped.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))

from recorded import ORIGIN, is_finished, save, seconds, spread, table, trained, training_command_line

from residual_ssl import compose
from residual_ssl.config.components import build
from residual_ssl.data import HandwrittenDigits
from residual_ssl.diagnostics import auroc
from residual_ssl.runtime import checkpoint
from residual_ssl.runtime.provenance import provenance

KNOWN = 6
METHODS = {
    "labels only": ["algorithm=supervised"],
    "none": ["algorithm=fixmatch", "selector=none"],
    ".95 (FixMatch)": ["algorithm=fixmatch"],
    "csl": ["algorithm=fixmatch", "selector=csl"],
    "OpenMatch": ["algorithm=openmatch"],
    "IOMatch": ["algorithm=iomatch"],
    "SSB": ["algorithm=ssb"],
    "DAC": ["algorithm=dac"],
    "oracle": ["algorithm=fixmatch", "selector=oracle"],
}
SIZES = {"reduced": 200, "tiny": 4}


def main(arguments: list[str] | None = None) -> None:
    options = training_command_line(__doc__, SIZES, "open_set").parse_args(arguments)
    rows = []
    for seed in options.seeds:
        for name in METHODS:
            rows.append(row(options, name, seed))
            print({key: rows[-1][key] for key in ("method", "seed", "accuracy", "detector", "confidence")}, flush=True)
    text = written(rows, options.size)
    save(options.out, f"open_set_digits_{options.size}", {**provenance(), "rows": rows}, text)
    print(text)


def row(options: Any, name: str, seed: int) -> dict[str, Any]:
    """Train one run, or read it, and look at how it ranks the held-out digits."""
    run_dir = options.runs / f"{name.split()[0].strip('.').lower()}-{seed}"
    steps = SIZES[options.size]
    short = [f"steps={steps}", f"evaluate_every={steps}", f"seed={seed}", f"run_dir='{run_dir}'", *options.overrides]
    overrides = ["experiment=open_digits", *METHODS[name], *short]
    result = trained(overrides, read_only=options.finished and is_finished(run_dir))
    digits = HandwrittenDigits("validation", [str(k) for k in range(KNOWN)])
    unknown = torch.tensor([digits[i].label == -1 for i in range(len(digits))])
    detector, confidence = scores(compose(overrides), run_dir, [digits[i].image for i in range(len(digits))])
    return {
        **{"method": name, "seed": seed, "accuracy": result["last"]["accuracy"]},
        "detector": None if detector is None else 100 * auroc(detector, unknown).item(),
        "confidence": 100 * auroc(1 - confidence, unknown).item(),
        "training": result["training"],
        "seconds": result["seconds"],
        **{key: result[key] for key in ORIGIN},
    }


@torch.no_grad()
def scores(config: dict[str, Any], run_dir: Path, images: list[Tensor]) -> tuple[Tensor | None, Tensor]:
    """Outlier scores by a run's detector, and the confidences of its classifier; of the student after the last step."""
    task, algorithm = build(config["task"], "task"), build(config["algorithm"], "algorithm")
    student = algorithm.build_model(task)
    stored = checkpoint.load(run_dir / "last.pt")
    checkpoint.restore_weights(student, stored["model"], run_dir / "last.pt")
    algorithm.attach(student)
    algorithm.load_state_dict(stored["algorithm"])
    student.eval()
    shown = torch.stack([task.weak.plain(image) for image in images])
    outputs = student(task.view(shown, "plain"))
    told = [
        algorithm.auxiliary.by_name[name].outlier_score(prediction)
        for name, prediction in algorithm.auxiliary.predictions(outputs).items()
    ]
    found = [score for score in told if score is not None]
    return (found[0] if found else None), algorithm.auxiliary.logits(outputs).softmax(1).amax(1)


def written(rows: list[dict[str, Any]], size: str) -> str:
    """The table: a row for each method, mean and standard deviation over the seeds."""
    seeds = sorted({entry["seed"] for entry in rows})
    cells = []
    for name in METHODS:
        found = [entry for entry in rows if entry["method"] == name]
        figures = [
            spread([entry[key] for entry in found if entry[key] is not None])
            for key in ("accuracy", "detector", "confidence")
        ]
        purity = spread([100 * e["training"]["purity"] for e in found if "purity" in e["training"]])
        cells.append([name, *figures, purity, seconds(found)])
    header = ["method", "accuracy", "AUROC by detector", "AUROC by confidence", "purity", "seconds"]
    return "\n".join(
        [
            f"# A contaminated pool: digits, {size}",
            "",
            f"Per cent, seeds {', '.join(map(str, seeds))}, {SIZES[size]} steps. Classes 0 to 5 with four labelled",
            "samples each; digits 6 to 9 are four tenths of the pool. AUROC: held-out unknown digits against known",
            "ones. Purity: right pseudo-labels among the selected ones by weight at the end of training; strangers",
            "are never right.",
            "",
            *table(header, cells),
            "",
        ]
    )


if __name__ == "__main__":
    main()
