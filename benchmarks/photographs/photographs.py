"""Which selector helps on photographs: each continues one labels-only warm-up, on features of a frozen network.

    python benchmarks/photographs/photographs.py --pacs PACS --cifar10 CIFAR10 --weights LITE0 --seeds 0 1 2 3 4

PACS and CIFAR10 are folders of Parquet files with columns ``image`` and ``label`` (``photo.parquet`` …,
``train.parquet``), LITE0 the ImageNet weights of timm's ``tf_efficientnet_lite0``. A linear classifier learns from its
features, which are computed once; with half of the features dropped, it must agree with the selected pseudo-labels of
the features as they are. A run is a matter of seconds on one core.

The truth of unlabelled images is read to measure pseudo-labels; the oracle alone uses it to choose them, and the
perfect filter to leave out images of none of the classes. Runs go by seed and ground; the results file is written after
each. A run that was cut off is continued, a finished one only read.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from comparison import (
    ANIMALS,
    LABELS_ONLY,
    MEMORY,
    PACS,
    WARM_UP,
    compare,
    comparison_command_line,
    run_dir,
    scores_report,
    trained,
)
from comparison import SELECTORS as COMMON
from datasets import Dataset, concatenate_datasets, load_dataset

from residual_ssl.runtime.provenance import portable

#: Of the seven classes of PACS; horse, house and person are in the pool and asked for nowhere.
FOUR = PACS[:4]


class Ground(NamedTuple):
    """What is labelled, what the pool holds, in words and as a choice of data.

    ``rare``: half of the known classes are five times rarer in the pool; ``others``: share of other classes in a pool
    of 4,800, beside 240 images of the known ones, of which the labelled are drawn.
    """

    about: str
    data: str
    classes: Sequence[str]
    labelled: int
    strangers: str = "unlabelled"
    rare: bool = False
    others: float | None = None


GROUNDS = {
    "photographs, 4 labels a class": Ground(
        "PACS photographs: four classes known, three more in the pool, which is half of it", "photo", FOUR, 16
    ),
    "photographs and drawings, 4 labels a class": Ground(
        "the same labels and classes; the pool holds art, cartoons and sketches of all seven classes as well",
        "domains",
        FOUR,
        16,
    ),
    "small photographs, 4 labels a class": Ground(
        "CIFAR-10 (JPEG-lossy copies): six animals known, and four vehicles in the pool, two fifths of it",
        "cifar10",
        ANIMALS,
        24,
    ),
    "small photographs, 25 labels a class": Ground("as before", "cifar10", ANIMALS, 150),
    "photographs, 25 labels a class": Ground("PACS photographs as before", "photo", FOUR, 100),
    "photographs, 4 labels a class, clean": Ground(
        "PACS photographs of the four classes", "photo", FOUR, 16, "leave_out"
    ),
    "small photographs, 4 labels a class, clean": Ground("the six animals", "cifar10", ANIMALS, 24, "leave_out"),
    "photographs, 4 labels a class, skewed": Ground(
        "PACS photographs; two of the four classes are five times rarer in the pool than the others",
        *("photo", FOUR, 16),
        rare=True,
    ),
    "small photographs, 4 labels a class, skewed": Ground(
        "CIFAR-10; three of the six animals are five times rarer in the pool", "cifar10", ANIMALS, 24, rare=True
    ),
    **{
        f"small photographs, 4 labels a class, {share} % others": Ground(
            f"CIFAR-10; of a pool of 4,800, {share} % are vehicles, the rest animals", "cifar10", ANIMALS, 24
        )._replace(others=share / 100)
        for share in (0, 20, 40, 60, 80, 100)
    },
}
# Predictions are first brought to the class shares of the labelled ones.
ALIGNED = ["selector=adamatch", f"++selector.momentum={MEMORY}", "~selector.rule"]
SELECTORS = COMMON | {
    "label propagation": ["selector=label_propagation"],
    "label propagation, all": ["selector=label_propagation", "+selector.keep=1.0"],
    "aligned csl": [*ALIGNED, "+selector.rule={_target_:residual_ssl.ConvexSelector}"],
    "aligned .95": [*ALIGNED, "+selector.rule={_target_:residual_ssl.FixedThreshold,threshold:0.95}"],
}
SIZES = {"reduced": (200, 400), "full": (1000, 4000)}


def main() -> None:
    options = parse()
    compare(options, f"photographs_{options.size}", partial(run, options=options), partial(report, size=options.size))


def parse() -> argparse.Namespace:
    parser = comparison_command_line(__doc__, SIZES, "photographs", GROUNDS, SELECTORS)
    parser.add_argument("--pacs", type=Path, required=True, help="folder with photo.parquet and three more")
    parser.add_argument("--cifar10", type=Path, required=True, help="folder with train.parquet")
    return parser.parse_args()


def run(ground: str, selector: str, seed: int, place: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train with one selector and seed; the labelled images and the warm-up differ between seeds alone."""
    warm_up, after = SIZES[options.size]
    if selector == WARM_UP:
        choice = ["algorithm=supervised", f"steps={warm_up}", f"evaluate_every={warm_up}"]
    else:
        choice = ["algorithm=supervised"] if selector == LABELS_ONLY else [*CONSISTENCY, *SELECTORS[selector]]
        choice += [f"steps={after}", f"evaluate_every={after}"]
        choice.append(f"init_from={run_dir(options.runs / options.size, ground, WARM_UP, seed) / 'last.pt'}")
    overrides = [*TRAINING, *choice, f"seed={seed}", *options.overrides]
    where = [*data(GROUNDS[ground], seed, options), f"run_dir={place}"]
    row = trained([*where, *overrides], read_only=options.finished)
    row.pop("best")  # evaluated once, it is the last
    return {"ground": ground, "selector": selector, "seed": seed, "overrides": list(map(portable, overrides)), **row}


# Half of the features are dropped, and the others doubled: the one perturbation that frozen features have.
CONSISTENCY = [
    "algorithm=fixmatch",
    "~algorithm.branches.strong",
    "++algorithm.branches.feature={_target_:residual_ssl.algorithms.FeatureBranch,weight:0.5,"
    "perturbation:{_target_:residual_ssl.perturbations.FeatureDropout,probability:0.5}}",
]
TRAINING = ["optimizer=adamw", "optimizer.lr=0.001", "labelled_batch=24", "unlabelled_batch=96", "evaluation_batch=500"]


def data(ground: Ground, seed: int, options: argparse.Namespace) -> list[str]:
    """Overrides for the images of a ground; they are shuffled and divided once, the same for every seed."""
    kind = f"{ground.data}{'-rare' * ground.rare}{'' if ground.others is None else f'-{ground.others}'}"
    folder = options.runs / "data" / kind
    if not (folder / "validation.parquet").exists():
        divided(ground, options, folder)
    labelled = f"{ground.labelled}"
    if ground.data == "domains":
        labelled = str(photographs_alone(folder, ground, seed))
    size, padding = (96, 12) if ground.data == "cifar10" else (128, 16)
    return [
        *("dataset=frozen_images", "dataset.path=parquet"),
        f"dataset.data_files={{train:'{folder / 'train.parquet'}',validation:'{folder / 'validation.parquet'}'}}",
        *(f"dataset.classes=[{','.join(ground.classes)}]", f"dataset.strangers={ground.strangers}"),
        *(f"dataset.split={labelled}", f"dataset.size={size}", f"dataset.padding={padding}", "dataset.views=2"),
        *("dataset.backbone.name=tf_efficientnet_lite0", f"dataset.backbone.weights={options.weights}"),
        *("dataset.mean=[0.5,0.5,0.5]", "dataset.std=[0.5,0.5,0.5]"),
    ]


def divided(ground: Ground, options: argparse.Namespace, folder: Path) -> None:
    """Write ``train.parquet`` and ``validation.parquet``: of PACS a half each, of CIFAR-10 12,000 and 3,000."""
    data = ground.data
    photos = options.cifar10 / "train.parquet" if data == "cifar10" else options.pacs / "photo.parquet"
    images = load_dataset("parquet", data_files=str(photos), split="train").shuffle(seed=0)
    ends = (12_000, 15_000) if data == "cifar10" else (len(images) // 2, len(images))
    train, validation = images.select(range(ends[0])), images.select(range(*ends))
    if data == "domains":
        others = [
            load_dataset("parquet", data_files=str(options.pacs / f"{name}.parquet"), split="train").shuffle(seed=0)
            for name in ("art_painting", "cartoon", "sketch")
        ]
        train = concatenate_datasets([train, *(domain.select(range(len(train) // 2)) for domain in others)])
    train = train.select(pool_rows(train, ground))
    folder.mkdir(parents=True, exist_ok=True)
    train.to_parquet(folder / "train.parquet")
    validation.to_parquet(folder / "validation.parquet")


def pool_rows(train: Dataset, ground: Ground) -> list[int]:
    """Places of the images that the pool of a ground keeps, in order."""
    names, labels = train.features["label"].names, train["label"]
    places: dict[str, list[int]] = {name: [] for name in names}
    for place, label in enumerate(labels):
        places[names[label]].append(place)
    if ground.rare:
        for name in ground.classes[: len(ground.classes) // 2]:
            places[name] = places[name][: len(places[name]) // 5]
    if ground.others is None:
        return sorted(place for found in places.values() for place in found)
    others = sorted(place for name in names if name not in ground.classes for place in places[name])
    known = sorted(place for name in ground.classes for place in places[name][40:])
    first = [place for name in ground.classes for place in places[name][:40]]
    count = round(4800 * ground.others)
    return sorted([*first, *others[:count], *known[: 4800 - count]])


def photographs_alone(folder: Path, ground: Ground, seed: int) -> Path:
    """A split list of photographs, as many of each class, drawn by the seed: they are the first rows of the pool."""
    photos = load_dataset("parquet", data_files=str(folder / "train.parquet"), split="train")
    names, labels = photos.features["label"].names, photos["label"]
    photographs = len(labels) * 2 // 5  # the three other domains hold half as many each
    draw = random.Random(seed)
    chosen = []
    for name in ground.classes:
        own = [place for place in range(photographs) if names[labels[place]] == name]
        chosen += draw.sample(own, ground.labelled // len(ground.classes))
    path = folder / f"labelled-{ground.labelled}-{seed}.txt"
    path.write_text("".join(f"train/{place:06d}\n" for place in sorted(chosen)))
    return path


def report(rows: list[dict[str, Any]], size: str) -> str:
    """A table of all grounds, and one for each. Markdown."""
    abouts = {name: ground.about for name, ground in GROUNDS.items()}
    title, note = f"Selectors on photographs, {size} size", NOTE.format(*SIZES[size])
    return scores_report(title, note, abouts, rows, list(SELECTORS), "accuracy")


NOTE = (
    "Accuracy on images of the known classes, mean ± standard deviation over seeds. Every row continues the warm-up of "
    "its seed, {} steps on the labels, by {} steps. − none: paired by seed. Hindsight: the best of none and the fixed "
    "thresholds for each seed, by its accuracy on the validation images, which no method may do; it, the filter and "
    "the oracle are ceilings. Coverage, purity: of the unlabelled batches, over the last 100 steps; an image of no "
    "known class counts as wrong. Better, worse: grounds in which the mean paired difference to none is larger than "
    "twice its standard error. Label propagation was designed on the first three pools and the skewed ones, with other "
    "draws of the labels; the clean pools and those with a given share of others were run once, after it. It alone "
    "labels anew, by features: the ceilings of choosing among predicted labels are none for it."
)


if __name__ == "__main__":
    main()
