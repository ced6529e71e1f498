"""The configurations of published data sets: classes, colours, ids, and the published lists."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.dataset_layouts import CITYSCAPES_IDS, COCO_GAPS, LAYOUTS, Layout
from PIL import Image

from residual_ssl import compose
from residual_ssl.config.components import build
from residual_ssl.data import DatasetSpec, check_disjoint, read_list
from residual_ssl.errors import DataError


@cache
def spec_of(dataset: str) -> DatasetSpec:
    spec: DatasetSpec = build(compose([f"dataset={dataset}", "dataset.root=/somewhere"])["task"]["spec"], "spec")
    return spec


@pytest.mark.parametrize(
    ("dataset", "classes"), [("pascal", 21), ("cityscapes", 19), ("coco", 81), ("coco_stuff", 81), ("ade20k", 150)]
)
def test_number_of_classes_is_the_published_one(dataset: str, classes: int) -> None:
    assert spec_of(dataset).num_classes == classes


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.dataset)
def test_every_raw_id_means_what_the_data_set_defines_and_no_other_is_known(layout: Layout) -> None:
    spec = spec_of(layout.dataset)
    raw = np.array([layout.raw], dtype=np.int64)
    assert spec.encode(torch.from_numpy(raw), "m.png").tolist() == layout.classes(raw).tolist()
    assert set(layout.classes(raw).ravel().tolist()) - {255} == set(range(spec.num_classes))
    for other in set(range(256)) - set(layout.raw):
        with pytest.raises(DataError, match=f"label ids {other} are not"):
            spec.encode(torch.tensor([[other]]), "m.png")


# Names, ids and colours as the Cityscapes data set publishes them, for classes all along the list.
@pytest.mark.parametrize(
    ("name", "raw", "train_id", "colour"),
    [
        ("road", 7, 0, (128, 64, 128)),
        ("sidewalk", 8, 1, (244, 35, 232)),
        ("fence", 13, 4, (190, 153, 153)),
        ("traffic light", 19, 6, (250, 170, 30)),
        ("terrain", 22, 9, (152, 251, 152)),
        ("sky", 23, 10, (70, 130, 180)),
        ("rider", 25, 12, (255, 0, 0)),
        ("car", 26, 13, (0, 0, 142)),
        ("train", 31, 16, (0, 80, 100)),
        ("bicycle", 33, 18, (119, 11, 32)),
    ],
)
def test_cityscapes_has_its_train_ids_and_colours(
    name: str, raw: int, train_id: int, colour: tuple[int, int, int]
) -> None:
    spec = spec_of("cityscapes")
    assert CITYSCAPES_IDS.index(raw) == train_id
    assert spec.classes[train_id] == name
    assert spec.palette[train_id] == colour
    assert spec.encode(torch.tensor([[raw]]), "m.png").item() == train_id


# Category ids as in COCO's annotation files, on both sides of every gap.
@pytest.mark.parametrize(
    ("name", "category"),
    [
        *(("person", 1), ("fire hydrant", 11), ("stop sign", 13), ("zebra", 24), ("giraffe", 25), ("backpack", 27)),
        *(("umbrella", 28), ("handbag", 31), ("bottle", 44), ("wine glass", 46), ("potted plant", 64), ("bed", 65)),
        *(("dining table", 67), ("toilet", 70), ("tv", 72), ("refrigerator", 82), ("book", 84), ("toothbrush", 90)),
    ],
)
def test_coco_things_keep_their_names(name: str, category: int) -> None:
    assert category not in COCO_GAPS
    encoded = spec_of("coco_stuff").encode(torch.tensor([[category - 1]]), "m.png").item()
    assert spec_of("coco_stuff").classes[encoded] == name
    assert spec_of("coco").classes == spec_of("coco_stuff").classes


# (object, index) as in objectInfo150.txt of SceneParse150, first names, along the list.
@pytest.mark.parametrize(
    ("name", "index"),
    [
        *(("wall", 1), ("building", 2), ("sky", 3), ("floor", 4), ("tree", 5), ("road", 7), ("bed", 8), ("person", 13)),
        *(("car", 21), ("water", 22), ("sea", 27), ("fence", 33), ("sand", 47), ("river", 61), ("toilet", 66)),
        *(("boat", 77), ("bus", 81), ("truck", 84), ("airplane", 91), ("van", 103), ("ship", 104), ("tent", 115)),
        *(("animal", 127), ("bicycle", 128), ("traffic light", 137), ("shower", 146), ("clock", 149), ("flag", 150)),
    ],
)
def test_ade20k_ids_are_the_indices_of_the_scene_parsing_list(name: str, index: int) -> None:
    spec = spec_of("ade20k")
    assert spec.classes[spec.encode(torch.tensor([[index]]), "m.png").item()] == name


def test_pascal_colours_are_those_in_its_files(shared_data: Path) -> None:
    with Image.open(shared_data / "samples" / "voc2012" / "SegmentationClass" / "2011_000003.png") as mask:
        colours = mask.getpalette()
    assert colours is not None
    assert [channel for colour in spec_of("pascal").palette for channel in colour] == colours[:63]


_LISTS = ("labeled", "unlabeled")
PASCAL = {
    **{"92": (92, 10490), "183": (183, 10399), "366": (366, 10216), "732": (732, 9850), "1464": (1464, 9118)},
    **{"1_16": (662, 9920), "1_8": (1323, 9259), "1_4": (2646, 7936)},
    **{"u2pl_1_16": (662, 9920), "u2pl_1_8": (1323, 9259), "u2pl_1_4": (2646, 7936)},
}
CITYSCAPES = {"1_30": (100, 2875), "1_16": (186, 2789), "1_8": (372, 2603), "1_4": (744, 2231), "1_2": (1488, 1487)}


@pytest.mark.parametrize(
    ("dataset", "split", "counts"),
    [
        *(("pascal", split, counts) for split, counts in PASCAL.items()),
        *(("cityscapes", split, counts) for split, counts in CITYSCAPES.items()),
    ],
)
def test_published_lists_have_the_published_counts_and_share_no_image(
    dataset: str, split: str, counts: tuple[int, int], shared_data: Path
) -> None:
    splits = shared_data / "splits" / dataset
    lists = {name: [entry.image for entry in read_list(splits / split / f"{name}.txt")] for name in _LISTS}
    assert tuple(len(lists[name]) for name in _LISTS) == counts
    validation = [entry.image for entry in read_list(splits / "val.txt")]
    assert len(validation) == {"pascal": 1449, "cityscapes": 500}[dataset]
    check_disjoint([*lists.items(), ("validation", validation)], fix="")


@pytest.mark.parametrize(
    ("dataset", "counts"),
    [
        ("coco", {"1_512": 232, "1_256": 463, "1_128": 925, "1_64": 1849, "1_32": 3697}),
        ("ade20k", {"1_64": 316, "1_32": 631, "1_16": 1263, "1_8": 2526, "1_4": 5052, "1_2": 10105}),
    ],
)
def test_published_labelled_lists_of_sets_without_unlabelled_ones(
    dataset: str, counts: dict[str, int], shared_data: Path
) -> None:
    folder = shared_data / "splits" / dataset
    assert {split: len(read_list(folder / split / "labeled.txt")) for split in counts} == counts
    assert compose([f"dataset={dataset}", "dataset.root=/x"])["task"]["source"]["unlabelled"] is None
