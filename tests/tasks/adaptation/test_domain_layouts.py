"""Each pair of domains from its files to figures: a real step with DACS's mix, an evaluation, class ids."""

from pathlib import Path

import numpy as np
import pytest
from helpers.domain_layouts import PAIRS
from PIL import Image

from residual_ssl import compose, evaluate, predict, train
from residual_ssl.config.components import build
from residual_ssl.engine.records.run_log import read_log

SMALL = [
    *("model=small_segmenter", "optimizer=adamw", "head_lr_multiplier=1", "device=cpu", "workers=0", "precision=no"),
    *("steps=1", "warmup_steps=0", "dataset.geometry.crop=48", "dataset.mask_block=8", "dataset.rare_points=4"),
]


def mean_iou(prediction: np.ndarray, target: np.ndarray) -> float:
    """Mean over the classes that are true or predicted anywhere but at ignored pixels, in per cent."""
    seen = target != 255
    prediction, target = prediction[seen], target[seen]
    ratios = [
        ((prediction == k) & (target == k)).sum() / ((prediction == k) | (target == k)).sum()
        for k in np.union1d(prediction, target)
    ]
    return 100 * float(np.mean(ratios))


@pytest.mark.parametrize("name", PAIRS)
def test_made_images_of_every_pair_adapt_and_evaluate(name: str, tmp_path: Path) -> None:
    source, target = PAIRS[name]
    raw = source.make(tmp_path / "S", {0, 1})
    truth = target.make(tmp_path / "T", {2})
    roots = [f"dataset.root={tmp_path / 'T'}", f"dataset.source_root={tmp_path / 'S'}"]
    config = compose([f"experiment={name}", "algorithm=mic", *SMALL, *roots, f"run_dir={tmp_path / 'run'}"])

    data = build(config["task"], "task").source
    assert (len(data.labelled), len(data.unlabelled), len(data.validation)) == (2, 2, 1)
    for index, (image, _) in enumerate(source.pairs):
        mask = data.labelled[index].mask
        assert mask.tolist() == source.classes(raw[image]).tolist()
    assert all(data.unlabelled[i].mask is None for i in range(2))

    result = train(config)
    (row,) = [row for row in read_log(tmp_path / "run") if "train/loss" in row]
    assert {"train/loss_labelled", "train/loss_mixed", "train/loss_masked"} < set(row)
    image, _ = target.pairs[2]
    written = predict(tmp_path / "run", tmp_path / "T" / image, tmp_path / "out", device="cpu")
    (path,) = [path for path in written if path.stem.endswith("_label")]
    with Image.open(path) as label:
        expected = mean_iou(np.array(label), target.classes(truth[image]))
    assert result.last["miou"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.slow
def test_real_cityscapes_images_adapt_to_others(tmp_path: Path, shared_data: Path) -> None:
    """From one real image to another as if it were of another domain: real files, at their full size."""
    sample = shared_data / "samples" / "cityscapes"
    for index in range(3):
        name = f"aachen_{index:06d}_000019"
        image, mask = (
            f"leftImg8bit/train/aachen/{name}_leftImg8bit.png",
            f"gtFine/train/aachen/{name}_gtFine_labelIds.png",
        )
        part = ("train", "train", "val")[index]
        root = tmp_path / ("S" if index == 0 else "T")
        for file in (image, mask)[: 1 if index == 1 else 2]:
            (place := root / file.replace("train", part)).parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(sample / file)
    # The same folders as a source in the layout of GTA5, whose ids are those of Cityscapes.
    for folder, of in (("images", "leftImg8bit"), ("labels", "gtFine")):
        (tmp_path / "S" / folder).mkdir()
        (file,) = (tmp_path / "S" / of).rglob("*.png")
        (tmp_path / "S" / folder / "00001.png").symlink_to(file)
    roots = [f"dataset.root={tmp_path / 'T'}", f"dataset.source_root={tmp_path / 'S'}"]
    rare = "dataset.rare_points=3000"
    choice = [
        "experiment=gta5_to_cityscapes",
        "algorithm=daformer",
        *SMALL,
        rare,
        *roots,
        f"run_dir={tmp_path / 'run'}",
    ]
    result = train(compose([*choice, "dataset.geometry.crop=256"]))
    assert 0 < result.last["miou"] < 100
    assert evaluate(tmp_path / "run", device="cpu")["miou"] == pytest.approx(result.last["miou"], abs=1e-4)
