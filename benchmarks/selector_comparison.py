"""All selection rules on the same saved predictions of labels-only models, at matched coverage.

    python benchmarks/selector_comparison.py camvid --root CAMVID --weights MOBILENETV2 --labelled 30 100 --seeds 0 1 2
    python benchmarks/selector_comparison.py cifar10 --root CIFAR10 --labelled 250 1000 --seeds 0 1 2
    python benchmarks/selector_comparison.py pacs --root PACS --weights MOBILENETV2 --seeds 0 1 2

The predictions are those of the unlabelled pool, from which rules select in training; its truth measures, and chooses
for the oracle alone. A labels-only model that is not there is trained first, by segmentation_camvid.py for CamVid; one
that is, as RUNS/reduced/warm-up-30-0 for CamVid, is only read. Predictions are saved, and the rules judge
them batch by batch.

Rules with memory first see random batches, as many as settle them, together with predictions of the labelled samples,
as in training; schedules stand half-way. Rules that are fitted see predictions of labelled samples that the model was
not trained on: more labels than the others have.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import classified
import numpy as np
import segmentation_camvid
import selector_metrics
import torch
from numpy.lib.format import open_memmap
from recorded import command_line, positive, save, spread, table
from selector_metrics import CONFIDENCE, COVERAGES, LEARNED, NONE, ORACLE
from torch import Tensor, nn

from residual_ssl import compose, train
from residual_ssl.commands.comparison import Predictions
from residual_ssl.commands.comparison.saved import SavedArray
from residual_ssl.config.components import build
from residual_ssl.engine.records.trained import load_run
from residual_ssl.runtime.provenance import provenance
from residual_ssl.task import Task

PARTS = ("pool", "labelled", "held_out")
KINDS = ("logits", "second", "labels")


class Data(NamedTuple):
    """A model's predictions by part, and how rules see them: samples a batch, thinning while they settle."""

    parts: dict[str, Predictions]
    batch: int
    thinning: int


def main() -> None:
    options = parse()
    torch.set_grad_enabled(False)
    rows: list[dict[str, Any]] = []
    for labelled, seed in itertools.product(options.labelled, options.seeds):
        rows += model_rows(labelled, seed, options)
        record = {"data": options.data, "about": ABOUT[options.data], **provenance(), "rows": rows}
        save(options.out, f"selectors_{options.data}", record, report(rows, options.data, options.settle))
    print(report(rows, options.data, options.settle))


def parse() -> argparse.Namespace:
    parser = command_line(__doc__)
    parser.add_argument("data", choices=DATA)
    parser.add_argument("--root", required=True, help="folder of the data set")
    parser.add_argument(
        "--weights", default="null", help="ImageNet weights of timm's mobilenetv2_100, to train on CamVid"
    )
    parser.add_argument("--labelled", type=int, nargs="+", help="labelled images; default: 30, 250 or 1120")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--settle", type=int, default=3000, help="steps in which rules with memory settle")
    parser.add_argument("--runs", type=Path, help="labels-only models; default: runs/benchmarks/DATA")
    parser.add_argument("--predictions", type=Path, default=Path("runs/benchmarks/selectors"))
    parser.add_argument(
        "--set", nargs="+", default=[], dest="overrides", metavar="KEY=VALUE", help="for every training"
    )
    options = parser.parse_args()
    options.runs = options.runs or Path("runs/benchmarks") / options.data
    options.labelled = options.labelled or [{"camvid": 30, "cifar10": 250, "pacs": 1120}[options.data]]
    return options


def model_rows(labelled: int, seed: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a rule for one model; judged before, they are only read."""
    folder = options.predictions / options.data / f"{labelled}-{seed}"
    judged = folder / f"rows-{options.settle}.json"
    if not judged.exists():
        data = DATA[options.data](folder, labelled, seed, options)
        pool = data.parts["pool"]
        rules = selector_metrics.rules(pool.num_classes, images=len(pool.labels.shape) > 1)
        selector_metrics.prepare(
            rules,
            *(data.parts[name] for name in PARTS),
            **{"batch": data.batch, "steps": options.settle, "thinning": data.thinning, "seed": seed},
        )
        found = selector_metrics.judge(rules, pool, batch=data.batch)
        size = {"samples": len(pool.labels), "data": options.data, "labelled": labelled, "seed": seed}
        judged.write_text(json.dumps([size | row for row in found]))
    rows: list[dict[str, Any]] = json.loads(judged.read_text())
    return rows


def camvid(folder: Path, labelled: int, seed: int, options: argparse.Namespace) -> Data:
    """Predictions of the pool, the labelled and the validation images, thinned."""
    if not all((folder / f"{name}_labels.npy").exists() for name in PARTS):
        run_dir = options.runs / "reduced" / f"warm-up-{labelled}-{seed}"
        if not (run_dir / "last.pt").exists():
            with torch.enable_grad():
                settings = vars(options) | {"size": "reduced"}
                segmentation_camvid.run("warm-up", labelled, seed, argparse.Namespace(**settings))
        run = load_run(run_dir, checkpoint_name="last.pt", device="cpu")
        task: Any = _moved(run.config["task"], options.root)
        for name, samples in (
            ("pool", task.source.unlabelled),
            ("labelled", task.source.labelled),
            ("held_out", task.source.validation),
        ):
            order = np.random.default_rng(seed).permutation(len(samples)).tolist()
            pairs = ((samples[i].image.float() / 255, samples[i].mask) for i in order)
            save_predictions(folder, name, predicted(task, run.model, pairs, stride=6), len(samples))
    return Data({name: saved(folder, name) for name in PARTS}, batch=4, thinning=2)


def _moved(config: Any, root: str) -> Task:
    """The task of a run on the data set in another place."""
    config = json.loads(json.dumps(config))
    spec = config["spec"]
    spec["label_map"] = {int(raw): target for raw, target in spec["label_map"].items()}
    config["source"] |= {"root": root, "spec": spec}
    task: Task = build(config, "task")
    return task


Arrays = tuple[Tensor, Tensor, Tensor]


def predicted(task: Task, model: nn.Module, pairs: Iterable[tuple[Tensor, Tensor]], *, stride: int) -> Iterator[Arrays]:
    """Logits, those of the mirror image, and labels of one image after the other."""
    place = (..., slice(stride // 2, None, stride), slice(stride // 2, None, stride))
    for image, label in pairs:
        inputs = image.unsqueeze(0)
        mirrored = task.predict(model, inputs.flip(-1)).flip(-1)
        yield task.predict(model, inputs)[place], mirrored[place], label[place].unsqueeze(0)


def save_predictions(folder: Path, name: str, batches: Iterator[Arrays], samples: int) -> None:
    """Write arrays batch by batch; the labels' file gets its name last, as a sign that all is there."""
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Any] = []
    start = 0
    for batch in batches:
        arrays = [tensor.numpy() for tensor in batch]
        if not files:
            files = [
                open_memmap(folder / f"{name}_{kind}.part.npy", "w+", array.dtype, (samples, *array.shape[1:]))
                for kind, array in zip(KINDS, arrays, strict=True)
            ]
        for file, array in zip(files, arrays, strict=True):
            file[start : start + len(array)] = array
        start += len(arrays[0])
    for file, kind in zip(files, KINDS, strict=True):
        file.flush()
        (folder / f"{name}_{kind}.part.npy").rename(folder / f"{name}_{kind}.npy")


def saved(folder: Path, name: str) -> Predictions:
    logits, second, labels = (
        SavedArray(folder / f"{name}_{kind}.npy", kind) for kind in ("logits", "second", "labels")
    )
    return Predictions(logits, labels, second=second)


def cifar10(folder: Path, labelled: int, seed: int, options: argparse.Namespace) -> Data:
    """Predictions of a part of the pool, of the labelled and of the validation images."""
    return _classified(folder, labelled, seed, options, classified.cifar10(options.root, labelled), CIFAR10_STEPS)


def pacs(folder: Path, labelled: int, seed: int, options: argparse.Namespace) -> Data:
    """Predictions of sketches as the pool, of the labelled and of the other photographs."""
    overrides = classified.pacs(options.root, labelled, options.weights)
    return _classified(folder, labelled, seed, options, overrides, PACS_STEPS)


def _classified(
    folder: Path, labelled: int, seed: int, options: argparse.Namespace, overrides: list[str], steps: list[str]
) -> Data:
    if not all((folder / f"{name}_labels.npy").exists() for name in PARTS):
        run_dir = options.runs / f"labels-only-{labelled}-{seed}"
        with torch.enable_grad():
            settings = [*overrides, "algorithm=supervised", *steps, *options.overrides]
            train(compose([*settings, f"seed={seed}", f"run_dir={run_dir}"]))
        run = load_run(run_dir, checkpoint_name="last.pt", device="cpu")
        task: Any = run.task
        parts = {"labelled": task.source.labelled, "pool": task.source.unlabelled, "held_out": task.source.validation}
        if options.data == "pacs":  # the other domain is the pool
            parts["pool"], parts["held_out"] = parts["held_out"], parts["pool"]
        for name, samples in parts.items():
            order = np.random.default_rng(seed).permutation(len(samples)).tolist()[:POOL]
            chosen = (samples[i] for i in order)
            save_predictions(folder, name, _predicted(task, run.model, chosen), len(order))
    return Data({name: saved(folder, name) for name in PARTS}, batch=64, thinning=1)


def _predicted(task: Any, model: nn.Module, samples: Iterable[Any]) -> Iterator[Arrays]:
    samples = iter(samples)
    while some := list(itertools.islice(samples, 100)):
        inputs = torch.stack([task.weak.plain(sample.image) for sample in some])
        labels = torch.tensor([sample.label for sample in some])
        yield task.predict(model, inputs), task.predict(model, inputs.flip(-1)), labels


POOL = 10_000
CIFAR10_STEPS = ["steps=600", "evaluate_every=600", "labelled_batch=64"]
PACS_STEPS = ["steps=200", "evaluate_every=200", "labelled_batch=16"]
DATA = {"camvid": camvid, "cifar10": cifar10, "pacs": pacs}
ABOUT = {
    "camvid": (
        "Labels-only DeepLabV3+ on an ImageNet MobileNetV2, last step, reduced size. Pool: the training images without "
        "a label, whole, every sixth pixel in both directions (they are predicted at a third of their size). Second "
        "view: the mirror image. Fitted rules learn from the 101 validation images. Batches of 4 images."
    ),
    "cifar10": (
        "Labels-only small network (0.07 M parameters), 600 steps of 64; images are JPEG-lossy copies, not comparable "
        "with published figures. Pool: 10,000 of the training images without a label. Second view: the mirror image. "
        "Fitted rules learn from 3,000 test images. Batches of 64 images."
    ),
    "pacs": (
        "MobileNetV2 of ImageNet trained on photographs alone, 200 steps of 16, images of 64 pixels. Pool: all "
        "3,929 sketches. Second view: the mirror image. Fitted rules learn from the photographs left over, so from "
        "another domain than they judge. Batches of 64 images."
    ),
}
GROUPS = {"image": "images", "batch": "batches"}
NOTE = (
    "All in per cent, mean ± standard deviation over models. Coverage, purity: of the rule as it is, by its weights; "
    "gap: its purity less that of the points of highest confidence at the same coverage. AURC: area under the "
    "risk–coverage curve, lower is better; points rank by weight, and those of weight 1, and those of weight 0, among "
    "themselves by confidence; 'pooled' over all points, 'per {group}' the mean over {groups}. @: purity of the "
    "highest ranked share of all points. Classes: share of the true classes of which at least 1 % is among the highest "
    "ranked 30 / 50 / 70 / 90 % of all points, with the right label. 'none' has no order, 'confidence' no coverage of "
    "its own. Hard thresholds on confidence rank as it does. Rules with memory are read after {settled} random "
    "batches; schedules (top_fraction, cbst, dars, u2pl, dash) stand half-way. Learned convex and constrained (its "
    "class shares bounded above alone) are fitted on held-out labels, which no other rule has. adamatch changes the "
    "labels too, not their order alone. Not here: "
    "csl_cvxpylayers (the program of csl), reliable_regions (needs a background class), label_propagation and "
    "pooled_propagation (need features), STPlusPlusSelector (needs earlier states of the model){also}."
)


def report(rows: list[dict[str, Any]], data: str, settled: int) -> str:
    """One table for each number of labels, and what it says in words. Markdown."""
    group = "image" if data == "camvid" else "batch"
    lines = [f"# Selection rules at matched coverage: {data}", "", ABOUT[data], ""]
    for labelled in sorted({row["labelled"] for row in rows}):
        own = [row for row in rows if row["labelled"] == labelled]
        models = len({row["seed"] for row in own})
        lines += [f"## {labelled} labels, {models} model(s), {own[0]['samples']:,} samples each", ""]
        lines += [*rule_table(own, group), "", *verdict(own, group), ""]
    also = "" if data == "camvid" else ", daformer (a share of an image; cutmix_seg is that of the batch)"
    return "\n".join([*lines, NOTE.format(group=group, groups=GROUPS[group], settled=f"{settled:,}", also=also), ""])


def rule_table(rows: list[dict[str, Any]], group: str) -> list[str]:
    head = ["rule", "coverage", "purity", "gap", "AURC pooled", f"AURC per {group}", *(f"@{c:g}" for c in COVERAGES)]
    cells = []
    for rule in dict.fromkeys(row["rule"] for row in rows):
        own = [row for row in rows if row["rule"] == rule]
        cells.append(
            [
                rule,
                *(_mean([row[key] for row in own if key in row], 1) for key in ("coverage", "purity")),
                *(spread([row[key] for row in own if key in row], 2) for key in ("gap", "aurc", "aurc_group")),
                *(_mean([row["purity_at"][str(c)] for row in own], 1) for c in COVERAGES),
                " / ".join(
                    _mean([row["classes_at"][str(c)] for row in own if "classes_at" in row], 0) for c in COVERAGES
                ),
            ]
        )
    return table([*head, "classes"], cells)


def verdict(rows: list[dict[str, Any]], group: str) -> list[str]:
    """Which rule wins by which measure, computed from the rows."""
    of = {(row["rule"], row["seed"]): row for row in rows}
    seeds = sorted({row["seed"] for row in rows})
    names = [name for name in dict.fromkeys(row["rule"] for row in rows) if name not in (NONE, CONFIDENCE, ORACLE)]

    def paired(rule: str, other: str, key: str) -> list[float]:
        return [of[rule, seed][key] - of[other, seed][key] for seed in seeds]

    said = []
    if len(seeds) == 1:
        said.append("- One model shows no spread: what follows is about this model, and may not hold for another.")
    for key, words in (("aurc", "pooled AURC"), ("aurc_group", f"AURC per {group}")):
        order = sorted(names, key=lambda name: statistics.mean(of[name, seed][key] for seed in seeds))
        plain = [name for name in order if name not in LEARNED]
        lower = [name for name in order if _clearly([-x for x in paired(name, CONFIDENCE, key)])]
        higher = [name for name in order if _clearly(paired(name, CONFIDENCE, key))]
        best = f"{order[0]} ({spread(paired(order[0], CONFIDENCE, key), 2)} against confidence)"
        if order[0] in LEARNED:
            best += (
                f"; of the rules without held-out labels {plain[0]} ({spread(paired(plain[0], CONFIDENCE, key), 2)})"
            )
        said.append(f"- {words}: best {best}. Below confidence's, that is better: {_listed(lower)}.")
        said.append(f"  Above it, worse: {_listed(higher)}. The others rank as confidence, within noise.")
    gaps = {name: [of[name, seed].get("gap", 0.0) for seed in seeds] for name in names}
    order = sorted(names, key=lambda name: -statistics.mean(gaps[name]))
    positive = [name for name in order if _clearly(gaps[name])]
    negative = [name for name in order if _clearly([-gap for gap in gaps[name]])]
    said.append(
        f"- Purity at the rule's own coverage, against confidence at the same: best {order[0]} "
        f"({spread(gaps[order[0]], 2)} points). Purer than confidence: {_listed(positive)}. "
        f"Less pure: {_listed(negative)}."
    )
    for name in ("csl", "covar"):
        said.append(
            f"- {name}: {spread(paired(name, NONE, 'aurc'), 2)} of pooled AURC against no selection, "
            f"{spread(paired(name, CONFIDENCE, 'aurc'), 2)} against confidence, per {group} "
            f"{spread(paired(name, CONFIDENCE, 'aurc_group'), 2)}; gap at its own coverage {spread(gaps[name], 2)}."
        )
    return said


def _clearly(differences: list[float]) -> bool:
    """Whether paired differences are positive beyond their standard deviation, and beyond rounding."""
    return positive(differences, least=0.005)


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"


def _mean(values: list[float], digits: int) -> str:
    return spread([statistics.mean(values)] if values else [], digits)


if __name__ == "__main__":
    main()
