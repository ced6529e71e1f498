"""Rankings of predictions by reliability: the learned convex selector against plain confidence and published rules.

    python benchmarks/learned_selector.py
    python benchmarks/learned_selector.py --camvid CAMVID --camvid-run RUN

Every rule ranks the points of the same predictions; area under the risk–coverage curve (AURC, lower is better) and
purity at fixed coverage say how well. Nothing is chosen on the evaluation part.

- Digit scenes: a labels-only model per seed. Rules that learn see 50 scenes with labels that the model was not trained
  on (digits of the training pool); evaluation is on the 200 validation scenes, whose digits are in no other scene.
- CamVid: a finished labels-only run of segmentation_camvid.py. Rules that learn see the validation images (never
  trained on); evaluation is on the test images, every 4th pixel in both directions.

The model is that of the last step. The second view of a digit scene is a light photometric change, that of a CamVid
image its mirror image.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from recorded import command_line, save, spread, table
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from residual_ssl import ConvexSelector, Selector, compose, train
from residual_ssl.config.components import build
from residual_ssl.diagnostics import aurc, risk_coverage
from residual_ssl.engine.records.trained import TrainedRun, load_run
from residual_ssl.runtime.provenance import provenance
from residual_ssl.selection import LearnedConvexSelector
from residual_ssl.selection.points.known_points import draw_known_points
from residual_ssl.selection.points.point_features import FEATURES, point_features

COVERAGES = (0.3, 0.5, 0.7, 0.9)
NOTE = (
    "AURC in per cent: pooled over all points of all images, and the mean of the images' own. Change: of the pooled "
    "AURC, relative to confidence, paired. Purity: accuracy of the most reliable share of all points. 'No ranking' and "
    "'oracle' bound what any rule can do. Tried and left out, judged on other scenes and on halves of CamVid's "
    "validation set: a program solved anew for every image (as CSL does) with the learned metric ranks worse, pooled "
    "and per image, since its affinities average to 0 in every image; a mean log-odds of the image as a feature, and "
    "d = 4, change little; windows from 3 to 9 gain a little with size on digits, nothing on CamVid."
)
DATA = {
    "digits": (
        "Labels-only model of the last step; learned rules saw 50 labelled scenes that the model was not trained on; "
        "evaluated on the validation scenes, whose digits are in no other scene. Second view: light photometric change."
    ),
    "camvid": (
        "One labels-only model (30 labels, reduced size, last step); learned rules saw the 101 validation images, more "
        "labels than the model had; evaluated on the test images, every 4th pixel in both directions. Second view: the "
        "mirror image. One model shows no spread: differences of a few per cent may not hold for another."
    ),
}
Score = Callable[[Tensor, Tensor], Tensor]


class Predicted(NamedTuple):
    """Predictions with their truth: logits and second view's logits ``(B, K, H, W)``, labels ``(B, H, W)``."""

    logits: Tensor
    second: Tensor
    labels: Tensor


def main() -> None:
    options = parse()
    rows: list[dict[str, Any]] = []
    for seed in options.seeds:
        rows += [{"data": "digits", "seed": seed, **row} for row in digits(seed, options)]
    if options.camvid_run:
        rows += [{"data": "camvid", "seed": 0, **row} for row in camvid(options)]
    record = {"note": NOTE, "data": DATA, **provenance(), "rows": rows}
    save(options.out, "learned_selector", record, report(rows))
    print(report(rows))


def parse() -> argparse.Namespace:
    parser = command_line(__doc__)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2], help="of the digit scenes and their models")
    parser.add_argument("--steps", type=int, default=300, help="training steps of the digit models")
    parser.add_argument("--camvid", help="CamVid: train, val, test and their …annot folders")
    parser.add_argument("--camvid-run", help="finished run directory of segmentation_camvid.py")
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks/learned_selector"))
    options = parser.parse_args()
    if bool(options.camvid) != bool(options.camvid_run):
        parser.error("--camvid and --camvid-run belong together")
    return options


def digits(seed: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    run_dir = options.runs / f"digits-{seed}"
    train(
        compose(
            [
                *("experiment=digits", "algorithm=supervised", f"seed={seed}", f"run_dir={run_dir}"),
                *(f"steps={options.steps}", f"evaluate_every={options.steps}"),
            ]
        )
    )
    run = load_run(run_dir, checkpoint_name="last.pt", device="cpu")
    source: Any = run.task.source  # type: ignore[attr-defined]

    def predicted(samples: Iterable[Any]) -> Iterator[Predicted]:
        torch.manual_seed(seed)  # photometric changes draw from the global generator
        for sample in samples:
            image = sample.image.unsqueeze(0).float() / 255
            second = run.model(run.task.view(image, "light"))
            yield Predicted(run.task.predict(run.model, image), second, sample.mask.unsqueeze(0))

    return compare(predicted(source.unlabelled[:50]), predicted(source.validation), stride=1)


def camvid(options: argparse.Namespace) -> list[dict[str, Any]]:
    run = load_run(options.camvid_run, checkpoint_name="last.pt", device="cpu")

    def predicted(part: str) -> Iterator[Predicted]:
        data = camvid_part(run, options.camvid, part)
        for i in range(len(data)):
            image, target = data[i]["input"].unsqueeze(0), data[i]["target"].unsqueeze(0)
            mirrored = run.task.predict(run.model, image.flip(-1)).flip(-1)
            yield Predicted(run.task.predict(run.model, image), mirrored, target)

    return compare(predicted("val"), predicted("test"), stride=4)


def camvid_part(run: TrainedRun, root: str, part: str) -> Any:
    config = json.loads(json.dumps(run.config["task"]))
    spec = config["spec"]
    spec["label_map"] = {int(raw): target for raw, target in spec["label_map"].items()}
    config["source"] |= {"root": root, "spec": spec, "validation": {"images": part, "masks": f"{part}annot"}}
    return build(config, "task").validation()


@torch.no_grad()
def compare(calibration: Iterator[Predicted], evaluation: Iterator[Predicted], *, stride: int) -> list[dict[str, Any]]:
    """Fit the rules that learn on one part, rank the other part's points by every rule."""
    known = Predicted(*(torch.cat(column) for column in zip(*calibration, strict=True)))
    scores = rules(known)
    print(f"fitted on {len(known.logits)} images")
    images: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in (*scores, "oracle")}
    for logits, second, labels in evaluation:
        place = (slice(None), slice(None, None, stride), slice(None, None, stride))
        labels = labels[place]
        known_label = labels != 255
        correct = (logits.argmax(1)[place] == labels)[known_label]
        for name, score in scores.items():
            images[name].append((score(logits, second)[place][known_label], correct))
        images["oracle"].append((correct.float(), correct))
    return [{"rule": name, **figures(ranked)} for name, ranked in images.items()]


def rules(known: Predicted) -> dict[str, Score]:
    learned = LearnedConvexSelector().fit(known.logits, known.labels)
    linear = LearnedConvexSelector(dimensions=2).fit(known.logits, known.labels)
    two_views = LearnedConvexSelector().fit(known.logits, known.labels, second=known.second)
    return {
        "no ranking": lambda logits, second: torch.zeros_like(logits[:, 0]),
        "confidence": lambda logits, second: feature(logits, "log_odds"),  # the same order, exact close to 1
        "margin": lambda logits, second: feature(logits, "margin"),
        "entropy": lambda logits, second: -feature(logits, "entropy"),
        "confidence, mean of two views": mean_confidence,
        "CSL affinity": csl_affinity,
        "CSL weight": weight_of(ConvexSelector()),
        "CoVar weight": weight_of(ConvexSelector("covar")),
        "logistic regression, same features": logistic_regression(known),
        "LearnedConvexSelector, d = 2": lambda logits, second: linear.score(logits),
        "LearnedConvexSelector": lambda logits, second: learned.score(logits),
        "LearnedConvexSelector, second view": lambda logits, second: two_views.score(logits, second=second),
    }


def feature(logits: Tensor, name: str) -> Tensor:
    return point_features(logits.double(), window=1).values[..., FEATURES.index(name)]


def mean_confidence(logits: Tensor, second: Tensor) -> Tensor:
    mean = (logits.double().softmax(1) + second.double().softmax(1)) / 2
    return mean.gather(1, logits.argmax(1, keepdim=True)).squeeze(1)


def csl_affinity(logits: Tensor, second: Tensor) -> Tensor:
    """Soft membership in the reliable cluster: increasing in the affinity to it."""
    return ConvexSelector(temperature=1.0).partition(logits.double()).reliable.view_as(logits[:, 0])


def weight_of(selector: Selector) -> Score:
    return lambda logits, second: selector(logits.double()).weight


def logistic_regression(known: Predicted) -> Score:
    """A linear rule on the points and features that LearnedConvexSelector learns from."""
    options = LearnedConvexSelector()
    generator = torch.Generator().manual_seed(options.seed)
    points = draw_known_points(
        *(known.logits, known.labels, None, None),
        ignore_index=255,
        window=options.window,
        max_points=options.max_points,
        generator=generator,
    )
    x = torch.cat([points.values, points.class_log_odds[points.label].unsqueeze(1)], 1)
    deviation, center = torch.std_mean(x, 0)
    model = LogisticRegression(max_iter=1000).fit(((x - center) / deviation).numpy(), points.right.numpy())
    direction = torch.from_numpy(model.coef_[0]) / deviation

    def score(logits: Tensor, second: Tensor) -> Tensor:
        values, judged = point_features(logits, window=options.window)
        return torch.cat([values, points.class_log_odds[judged.label].unsqueeze(-1)], -1).double() @ direction

    return score


def figures(images: list[tuple[Tensor, Tensor]]) -> dict[str, Any]:
    scores, correct = (torch.cat(column) for column in zip(*images, strict=True))
    risk = risk_coverage(scores, correct)[1]
    purity = {str(c): 100 * (1 - risk[round(c * len(risk)) - 1].item()) for c in COVERAGES}
    return {
        "pooled_aurc": 100 * risk.mean().item(),
        "image_aurc": statistics.mean(100 * aurc(*image).item() for image in images),
        "purity": purity,
        "points": len(risk),
        "images": len(images),
    }


def report(rows: list[dict[str, Any]]) -> str:
    lines = ["# Ranking predictions by reliability", ""]
    for data in dict.fromkeys(row["data"] for row in rows):
        own = [row for row in rows if row["data"] == data]
        seeds = sorted({row["seed"] for row in own})
        base = {row["seed"]: row["pooled_aurc"] for row in own if row["rule"] == "confidence"}
        cells = []
        for name in dict.fromkeys(row["rule"] for row in own):
            group = [row for row in own if row["rule"] == name]
            change = [100 * (row["pooled_aurc"] / base[row["seed"]] - 1) for row in group]
            cells.append(
                [
                    *(name, spread([row["pooled_aurc"] for row in group], 3), f"{spread(change)} %"),
                    spread([row["image_aurc"] for row in group], 3),
                    *(spread([row["purity"][str(c)] for row in group], 2) for c in COVERAGES),
                ]
            )
        title = f"## {data}: {len(seeds)} model(s), {own[0]['images']} images, {own[0]['points']:,} points each"
        head = ("rule", "pooled AURC", "change", "AURC per image", *(f"purity at {c}" for c in COVERAGES))
        lines += [title, "", DATA[data], "", *table(head, cells)]
        lines += ["", verdict(own), ""]
    return "\n".join([*lines, NOTE, ""])


def verdict(rows: list[dict[str, Any]]) -> str:
    """Where learning wins and where it does not, in words."""
    of = {(row["rule"], row["seed"]): row for row in rows}
    seeds = sorted({row["seed"] for row in rows})
    sentences = []
    for rule, rival in (
        ("LearnedConvexSelector", "confidence"),
        ("LearnedConvexSelector", "logistic regression, same features"),
        ("LearnedConvexSelector, second view", "confidence, mean of two views"),
    ):
        wins = sum(of[rule, seed]["pooled_aurc"] < of[rival, seed]["pooled_aurc"] for seed in seeds)
        sentences.append(f"{rule} has a lower pooled AURC than {rival} in {wins} of {len(seeds)} model(s).")

    def purity(rule: str, coverage: float) -> float:
        return statistics.mean(of[rule, seed]["purity"][str(coverage)] for seed in seeds)

    lost = [c for c in COVERAGES if purity("LearnedConvexSelector", c) < purity("confidence", c)]
    where = ", ".join(map(str, lost)) or "none of these"
    sentences.append(f"LearnedConvexSelector's purity is below that of confidence at coverage: {where}.")
    return "\n".join(f"- {sentence}" for sentence in sentences)


if __name__ == "__main__":
    main()
