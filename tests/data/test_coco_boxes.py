"""CocoBoxes: layouts, draws, what is left out, and files that are refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from residual_ssl import compose, train
from residual_ssl.data import CocoBoxes
from residual_ssl.errors import ConfigError, DataError, MissingDataError, ResidualSSLError

CATEGORIES = [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}, {"id": 9, "name": "tree"}]


def annotation(number: int, image: int, category: int, box: list[float], crowd: int = 0) -> dict[str, Any]:
    return {"id": number, "image_id": image, "category_id": category, "bbox": box, "iscrowd": crowd}


def write(folder: Path, annotations: Path, count: int, size: tuple[int, int] = (32, 48)) -> dict[str, Any]:
    """Images ``0.png`` … with a dog in each, a cat in every second, a tree in the first."""
    folder.mkdir(parents=True, exist_ok=True)
    annotations.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(count)
    rows = []
    for i in range(count):
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / f"{i}.png")
        rows.append(annotation(2 * i, i, 3, [4, 6, 10.5, 8]))
        if i % 2:
            rows.append(annotation(2 * i + 1, i, 7, [20, 2, 28, 30], crowd=1))
    rows.append(annotation(99, 0, 9, [0, 0, 5, 5]))
    whole = {
        "images": [{"id": i, "file_name": f"{i}.png"} for i in range(count)],
        "annotations": rows,
        "categories": CATEGORIES,
    }
    annotations.write_text(json.dumps(whole))
    return whole


LAYOUTS = {
    "coco": [("train2017", "annotations/instances_train2017.json"), ("val2017", "annotations/instances_val2017.json")],
    "export": [("train", "train/_annotations.coco.json"), ("valid", "valid/_annotations.coco.json")],
}


def subsets(layout: str) -> dict[str, dict[str, str]]:
    given = zip(("train", "validation"), LAYOUTS[layout], strict=True)
    return {name: {"images": images, "annotations": file} for name, (images, file) in given}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for layout in LAYOUTS.values():
        for (images, file), count in zip(layout, (6, 3), strict=True):
            write(tmp_path / images, tmp_path / file, count)
    return tmp_path


@pytest.mark.parametrize("layout", LAYOUTS)
def test_both_layouts_are_read_with_classes_in_the_order_given(root: Path, layout: str) -> None:
    source = CocoBoxes(root, ["cat", "dog"], **subsets(layout), labelled=2)
    assert [len(part) for part in (source.labelled, source.unlabelled, source.validation)] == [2, 4, 3]
    assert not {s.name for s in source.labelled} & {s.name for s in source.unlabelled}  # type: ignore[attr-defined]
    assert source.most == 2
    first, second = source.validation[0], source.validation[1]
    assert first.image.shape == (3, 32, 48)
    assert (first.boxes.tolist(), first.classes.tolist()) == ([[4, 6, 14.5, 14]], [1])  # type: ignore[union-attr]
    assert second.boxes.tolist() == [[4, 6, 14.5, 14], [20, 2, 48, 32]]  # type: ignore[union-attr]
    assert second.classes.tolist() == [1, 0]  # type: ignore[union-attr]
    assert second.crowd.tolist() == [False, True]  # type: ignore[union-attr]
    assert all(sample.boxes is None for sample in (source.unlabelled[i] for i in range(4)))


def test_the_labelled_images_may_be_listed_and_the_pool_a_folder_of_its_own(root: Path) -> None:
    (root / "few.txt").write_text("3.png\n1.png\n")
    (root / "pool" / "deep").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(root / "pool" / "deep" / "x.jpg")
    source = CocoBoxes(root, ["dog"], **subsets("coco"), labelled="few.txt", unlabelled="pool")
    assert source.labelled.names == ["3.png", "1.png"]
    assert source.unlabelled[0].name == "deep/x.jpg"
    assert source.unlabelled[0].boxes is None
    told = CocoBoxes(root, ["dog"], **subsets("coco"), labelled="few.txt", unlabelled_truth=True)
    assert told.unlabelled[0].boxes is not None
    everything = CocoBoxes(root, ["dog"], **subsets("coco"), labelled="all")
    assert (len(everything.labelled), len(everything.unlabelled)) == (6, 0)


def test_an_image_without_objects_is_background(root: Path) -> None:
    source = CocoBoxes(root, ["tree"], **subsets("coco"), labelled="all")
    assert source.labelled[1].boxes.shape == (0, 4)  # type: ignore[union-attr]
    assert source.labelled[1].classes.dtype == torch.int64  # type: ignore[union-attr]


def broken(change: str) -> Any:
    whole = {
        "images": [{"id": 0, "file_name": "0.png"}],
        "annotations": [annotation(1, 0, 3, [1, 1, 5, 5])],
        "categories": CATEGORIES,
    }
    return {
        "no list": {**whole, "images": {}},
        "no name": {**whole, "images": [{"id": 0}]},
        "other image": {**whole, "annotations": [annotation(1, 5, 3, [1, 1, 5, 5])]},
        "three sides": {**whole, "annotations": [annotation(1, 0, 3, [1, 1, 5])]},
        "text": {**whole, "annotations": [annotation(1, 0, 3, ["a", 1, 5, 5])]},  # type: ignore[list-item]
        "flat": {**whole, "annotations": [annotation(1, 0, 3, [1, 1, 0, 5])]},
        "beyond": {**whole, "annotations": [annotation(1, 0, 3, [30, 1, 30, 5])]},
        "outside": {**whole, "images": [{"id": 0, "file_name": "../0.png"}]},
        "list": [],
    }[change]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("no list", "images are missing or incomplete"),
        ("no name", "images are missing or incomplete"),
        ("list", "expected COCO's JSON"),
        ("other image", "annotation 1 is of image 5 and category 3, which the file does not list"),
        ("three sides", r"got bbox \[1, 1, 5\], expected \[left, top, width, height\]"),
        ("text", "got bbox"),
        ("flat", "expected left, top ≥ 0 and width, height > 0"),
        ("beyond", r"is 48×32 \(width×height\), and a box reaches to \(60"),
        ("outside", "lies outside the folder of images"),
    ],
)
def test_files_that_contradict_themselves_are_refused(root: Path, change: str, message: str) -> None:
    (root / "annotations" / "instances_train2017.json").write_text(json.dumps(broken(change)))
    with pytest.raises(DataError, match=message):
        CocoBoxes(root, ["dog"], **subsets("coco"), labelled="all").labelled[0]


def test_what_is_not_there_is_named(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"cow are no categories of .*, which has cat, dog, tree"):
        CocoBoxes(root, ["cow"], **subsets("coco"), labelled=2)
    with pytest.raises(MissingDataError, match="no such folder of images"):
        CocoBoxes(root / "elsewhere", ["dog"], **subsets("coco"), labelled=2)
    with pytest.raises(ConfigError, match="labelled: got 7, expected 1 … 6"):
        CocoBoxes(root, ["dog"], **subsets("coco"), labelled=7)
    (root / "few.txt").write_text("30.png\n")
    with pytest.raises(DataError, match=r"30.png: not among the images"):
        CocoBoxes(root, ["dog"], **subsets("coco"), labelled="few.txt")
    (root / "annotations" / "instances_val2017.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read as JSON"):
        CocoBoxes(root, ["dog"], **subsets("coco"), labelled=2)
    with pytest.raises(ResidualSSLError, match="train: got"):
        CocoBoxes(root, ["dog"], {"images": "x"}, subsets("coco")["validation"], labelled=2)


def test_a_detector_trains_on_them(root: Path, tmp_path: Path) -> None:
    config = compose(
        [
            *("dataset=coco_boxes", f"dataset.root={root}", "dataset.classes=[cat,dog]", "dataset.labelled=3"),
            *("model=small_detector", "dataset.strides=[4,8]", "dataset.geometry.crop=32", "model.channels=32"),
            *("algorithm=unbiased_teacher", "steps=2", "evaluate_every=2", "warmup_steps=0", "device=cpu"),
            *("labelled_batch=2", "unlabelled_batch=2", "trackers=[]", f"run_dir={tmp_path / 'run'}"),
        ]
    )
    assert 0 <= train(config).last["ap"] <= 100
