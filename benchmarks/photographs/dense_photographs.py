"""Which selector helps in segmenting photographs: each continues one labels-only warm-up, on maps of a frozen network.

    python benchmarks/photographs/dense_photographs.py --camvid CAMVID --weights LITE0 --seeds 0 1 2

CAMVID is the folder with ``train``, ``trainannot`` …, LITE0 the ImageNet weights of timm's ``tf_efficientnet_lite0``.
A head of two convolutions learns from the network's feature maps at 240×320, which are computed once; strong views drop
half of their channels and are mixed by CutMix. Scores are on the 233 images of the test set. With ``--pacs PACS``, the
folder of Parquet files, there are pools with photographs of other scenes, too.

The truth of unlabelled images is read to measure pseudo-labels; the oracle alone uses it to choose them, and the
perfect filter to leave out what is of none of the classes. Runs go by seed and ground; the results file is written
after each. A run that was cut off is continued, a finished one only read.
"""

from __future__ import annotations

import argparse
import random
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from comparison import (
    LABELS_ONLY,
    WARM_UP,
    compare,
    comparison_command_line,
    run_dir,
    scores_report,
    trained,
)
from comparison import SELECTORS as COMMON
from datasets import load_dataset
from PIL import Image

from residual_ssl.runtime.provenance import portable

CLASSES = ["sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"]
_VOID, _OTHERS = 11, 12  # ids in the masks; the second in those that are made here


class Ground(NamedTuple):
    """What the pool holds, in words and as choices of data.

    ``hidden``: classes that are ignored in labels and test, and in the pool; ``others``: photographs of other scenes
    in the pool; ``replace``: whether they take the place of as many of its own.
    """

    about: str
    hidden: tuple[str, ...] = ()
    others: int = 0
    replace: bool = False


GROUNDS = {
    "street scenes": Ground("CamVid, 30 labelled images, a pool of 337"),
    "street scenes, classes hidden": Ground(
        "sign, pedestrian and bicyclist are ignored in labels and test, and are in the pool",
        ("sign", "pedestrian", "bicyclist"),
    ),
    "street scenes, others hidden": Ground("tree, fence and pole are", ("tree", "fence", "pole")),
    "street scenes, photographs added": Ground("the pool of 337 and as many photographs of PACS", others=337),
    "street scenes, photographs instead": Ground("of the pool of 337, half are photographs of PACS", (), 168, True),
}
SELECTORS = COMMON | {
    "pooled propagation": [
        "selector=pooled_propagation",
        "selector.rule={_target_:residual_ssl.selection.TrustAll}",
    ],
    "pooled propagation, csl": ["selector=pooled_propagation"],
    "pooled propagation, fixed 0.95": [
        "selector=pooled_propagation",
        "selector.rule={_target_:residual_ssl.selection.FixedThreshold,threshold:0.95}",
    ],
    **{
        f"superpixels, {name}": ["regions=slic", "selector=regions", f"selector@selector.rule={rule}"]
        for name, rule in {"none": "none", "fixed 0.95": "fixed_threshold", "csl": "csl"}.items()
    },
}
SIZES = {"reduced": (300, 400), "full": (1000, 4000)}


def main() -> None:
    options = parse()
    compare(
        options, f"dense_photographs_{options.size}", partial(run, options=options), partial(report, size=options.size)
    )


def parse() -> argparse.Namespace:
    parser = comparison_command_line(__doc__, SIZES, "dense_photographs", GROUNDS, SELECTORS)
    parser.add_argument("--camvid", type=Path, required=True, help="folder with train, trainannot, test, testannot")
    parser.add_argument("--pacs", type=Path, help="folder with photo.parquet")
    options = parser.parse_args()
    if options.pacs is None:
        options.grounds = [name for name in options.grounds if not GROUNDS[name].others]
    return options


def run(ground: str, selector: str, seed: int, place: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train with one selector and seed; the labelled images and the warm-up differ between seeds alone."""
    warm_up, after = SIZES[options.size]
    if selector == WARM_UP:
        choice = ["algorithm=supervised", f"steps={warm_up}", f"evaluate_every={warm_up}"]
    else:
        consistency = ["algorithm=fixmatch", *SELECTORS[selector]] if selector != LABELS_ONLY else []
        choice = [*(consistency or ["algorithm=supervised"]), f"steps={after}", f"evaluate_every={after}"]
        choice.append(f"init_from={run_dir(options.runs / options.size, ground, WARM_UP, seed) / 'last.pt'}")
    overrides = [*TRAINING, *classes(GROUNDS[ground]), *choice, f"seed={seed}", *options.overrides]
    where = [f"dataset.root={root(GROUNDS[ground], options)}", f"task.maps.weights={options.weights}"]
    where += [f"dataset.labelled={labelled(seed, options)}", f"run_dir={place}"]
    row = trained(["experiment=camvid_frozen", *where, *overrides], read_only=options.finished)
    row.pop("best")  # evaluated once, it is the last
    return {"ground": ground, "selector": selector, "seed": seed, "overrides": list(map(portable, overrides)), **row}


TRAINING = [
    *("model.hidden=64", "labelled_batch=4", "unlabelled_batch=4", "evaluation_batch=16"),
    *("dataset.unlabelled_truth=true", "dataset.validation={images:test,masks:testannot}"),
]


def classes(ground: Ground) -> list[str]:
    """Overrides that leave out the hidden classes, which the pool has."""
    kept = [name for name in CLASSES if name not in ground.hidden]
    ids = {place: kept.index(name) if name in kept else -1 for place, name in enumerate(CLASSES)}
    ids |= {_VOID: 255, _OTHERS: -1}
    told = ",".join(f"{raw}:{place}" for raw, place in ids.items())
    return [
        f"dataset.classes=[{','.join(kept)}]",
        "dataset.palette=null",
        f"++dataset.label_map={{{told}}}",
    ]


def labelled(seed: int, options: argparse.Namespace) -> Path:
    """A list of 30 training images, drawn by the seed, the same for every ground."""
    names = sorted(path.stem for path in (options.camvid / "train").iterdir())
    path: Path = options.runs / "data" / f"labelled-{seed}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in sorted(random.Random(seed).sample(names, 30))))
    return path.absolute()


def root(ground: Ground, options: argparse.Namespace) -> Path:
    """Folder of a ground's images and masks: CamVid's own, or one made of links to it and photographs of PACS."""
    camvid: Path = options.camvid.absolute()
    if not ground.others:
        return camvid
    folder: Path = (options.runs / "data" / f"others-{ground.others}{'-instead' * ground.replace}").absolute()
    if (folder / "testannot").exists():
        return folder
    (folder / "train").mkdir(parents=True, exist_ok=True)
    (folder / "trainannot").mkdir(exist_ok=True)
    drawn = {name for seed in range(5) for name in labelled(seed, options).read_text().split()}
    images = sorted((camvid / "train").iterdir())
    rest = [path for path in images if path.stem not in drawn]
    leave = set(random.Random(0).sample(rest, ground.others)) if ground.replace else set()
    for path in images:
        if path not in leave:
            (folder / "train" / path.name).symlink_to(path)
            (folder / "trainannot" / f"{path.stem}.png").symlink_to(camvid / "trainannot" / f"{path.stem}.png")
    photos = load_dataset("parquet", data_files=str(options.pacs / "photo.parquet"), split="train").shuffle(seed=0)
    for place in range(ground.others):
        image = photos[place]["image"].convert("RGB").resize((480, 360))
        image.save(folder / "train" / f"photo-{place:04d}.png")
        Image.new("L", image.size, _OTHERS).save(folder / "trainannot" / f"photo-{place:04d}.png")
    for name in ("test", "testannot"):
        (folder / name).symlink_to(camvid / name)
    return folder


def report(rows: list[dict[str, Any]], size: str) -> str:
    """A table of all grounds, and one for each. Markdown."""
    abouts = {name: ground.about for name, ground in GROUNDS.items()}
    title, note = f"Selectors in segmenting photographs, {size} size", NOTE.format(*SIZES[size])
    return scores_report(title, note, abouts, rows, list(SELECTORS), "mIoU")


NOTE = (
    "Mean IoU over the test set at an eighth of 240×320, mean ± standard deviation over seeds. Every row continues the "
    "warm-up of its seed, {} steps on 30 labels, by {} steps. − none: paired by seed. Hindsight: the best of none and "
    "the fixed thresholds for each seed, by its score on the test set, which no method may do; it, the filter and the "
    "oracle are ceilings. Coverage, purity: of the unlabelled batches, over the last 100 steps; a pixel of no known "
    "class counts as wrong. Better, worse: grounds in which the mean paired difference to none is larger than twice "
    "its standard error. Pooled propagation labels anew, by features: the ceilings of choosing among predicted labels "
    "are none for it. It was designed on the first two grounds, with another draw of the labels."
)


if __name__ == "__main__":
    main()
