"""Masks out of COCO annotations: outlines by hand and by COCO's own code; files that are not as they should be."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from residual_ssl.data import write_coco_masks
from residual_ssl.data.segmentation.coco_masks import run_lengths
from residual_ssl.errors import ConfigError, DataError, MissingDataError, ResidualSSLError

coco = pytest.importorskip("pycocotools.mask", reason="needs pycocotools: the extra coco")


def described(*objects: dict[str, Any], **changes: Any) -> dict[str, Any]:
    whole = {
        "images": [{"id": 7, "file_name": "sub/a.jpg", "height": 6, "width": 9}],
        "annotations": [{"id": i, "image_id": 7, "iscrowd": 0, **one} for i, one in enumerate(objects)],
        "categories": [{"id": 3, "name": "tree"}, {"id": 1, "name": "house"}],
    }
    return {**whole, **changes}


def drawn(tmp_path: Path, whole: dict[str, Any], **options: Any) -> np.ndarray:
    (tmp_path / "a.json").write_text(json.dumps(whole))
    write_coco_masks(tmp_path / "a.json", tmp_path / "masks", **options)
    with Image.open(tmp_path / "masks" / "a.png") as mask:
        return np.array(mask)


def box(left: int, top: int, right: int, bottom: int) -> list[list[float]]:
    return [[left, top, right, top, right, bottom, left, bottom]]


def uncompressed(region: np.ndarray) -> dict[str, Any]:
    """Run lengths by their definition: column by column, beginning outside."""
    flat, counts, current = region.T.flatten(), [], False
    run = 0
    for value in flat:
        if value != current:
            counts.append(run)
            run, current = 0, value
        run += 1
    return {"size": list(region.shape), "counts": [*counts, run]}


def test_polygons_are_the_pixels_inside(tmp_path: Path) -> None:
    mask = drawn(tmp_path, described({"category_id": 3, "segmentation": box(2, 1, 6, 4)}))
    expected = np.zeros((6, 9), np.uint8)
    expected[1:4, 2:6] = 2  # the second category by its id; 0 is background
    assert np.array_equal(mask, expected)


def test_run_lengths_of_both_kinds_are_those_of_coco(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for density in (0.1, 0.5, 0.9):
        region = generator.random((6, 9)) < density
        compressed = coco.encode(np.asfortranarray(region.astype(np.uint8)))
        text = {"size": [6, 9], "counts": compressed["counts"].decode()}
        for outline in (uncompressed(region), text):
            mask = drawn(tmp_path, described({"category_id": 1, "segmentation": outline}))
            assert np.array_equal(mask == 1, region)


def test_long_runs_are_decompressed_as_coco_does() -> None:
    region = np.zeros((700, 900), np.uint8)
    region[100:650, 3:870] = 1
    region[5, 5] = 1
    counts = run_lengths(coco.encode(np.asfortranarray(region))["counts"].decode())
    flat = np.repeat(np.arange(len(counts)) % 2, counts).reshape(900, 700).T
    assert np.array_equal(flat, region)


def test_smaller_objects_lie_over_larger_ones_and_crowds_have_no_label(tmp_path: Path) -> None:
    crowd = np.zeros((6, 9), bool)
    crowd[5, 8] = True
    mask = drawn(
        tmp_path,
        described(
            {"category_id": 1, "segmentation": box(3, 2, 5, 4)},
            {"category_id": 3, "segmentation": box(0, 0, 9, 6)},
            {"category_id": 1, "segmentation": uncompressed(crowd), "iscrowd": 1},
        ),
    )
    assert mask[3, 4] == 1
    assert mask[0, 0] == 2
    assert mask[5, 8] == 255


def test_named_categories_count_in_their_order_and_others_are_background(tmp_path: Path) -> None:
    objects = ({"category_id": 3, "segmentation": box(0, 0, 4, 6)}, {"category_id": 1, "segmentation": box(5, 0, 9, 6)})
    (tmp_path / "a.json").write_text(json.dumps(described(*objects)))
    found = write_coco_masks(tmp_path / "a.json", tmp_path / "masks", classes=["background", "tree"])
    assert (found.classes, found.masks, found.objects, found.left_out) == (("background", "tree"), 1, 1, 1)
    assert set(np.unique(np.array(Image.open(tmp_path / "masks" / "a.png")))) == {0, 1}


def test_an_image_without_objects_is_background(tmp_path: Path) -> None:
    assert not drawn(tmp_path, described()).any()


@pytest.mark.parametrize(
    ("whole", "message"),
    [
        ([], "holds a list, expected images"),
        ({"images": []}, "has no list of annotations; has no list of categories"),
        (described({"segmentation": []}), "1 of annotations lack one of image_id, category_id"),
        (described({"category_id": 1}), "object 0 cannot be drawn: it has no segmentation"),
        (described({"category_id": 1, "segmentation": [[0, 0, 1e9, 0, 1e9, 1e9]]}), "lies far outside its image"),
        (described({"category_id": 1, "segmentation": [[0, 0, "x", 0, 1, 1]]}), "object 0 cannot be drawn"),
        (described({"category_id": 1, "segmentation": [[0, 0, 1, 0, 1, 1, 5]]}), "a polygon is no list of x, y"),
        (described({"category_id": 1, "segmentation": {"size": [6, 9], "counts": [10]}}), "do not add up to 54"),
        (
            described({"category_id": 1, "segmentation": {"size": [9, 6], "counts": [54]}}),
            r"its run lengths are of \[9",
        ),
        (described({"category_id": 1, "segmentation": {"size": [6, 9], "counts": "\x01"}}), "are damaged"),
        (described(images=[{"id": 1, "file_name": "a", "height": 10**9, "width": 10**9}]), "expected its size"),
        (
            described(images=[{"id": i, "file_name": f"{i}/a.jpg", "height": 1, "width": 1} for i in (0, 1)]),
            "two images",
        ),
    ],
)
def test_files_that_are_not_as_cocos_are_refused(whole: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        drawn(tmp_path, whole)


def test_a_name_leads_out_of_no_folder(tmp_path: Path) -> None:
    image = {"id": 7, "file_name": "../../..\\evil.jpg", "height": 2, "width": 2}
    (tmp_path / "a.json").write_text(json.dumps(described(images=[image])))
    write_coco_masks(tmp_path / "a.json", tmp_path / "in" / "masks")
    assert [path.name for path in tmp_path.rglob("*.png")] == ["evil.png"]
    assert (tmp_path / "in" / "masks" / "evil.png").is_file()


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no such file of annotations"):
        write_coco_masks(tmp_path / "nowhere.json", tmp_path)
    (tmp_path / "a.json").write_text(json.dumps(described()))
    with pytest.raises(ConfigError, match=r"car are no categories of .* which has house, tree"):
        write_coco_masks(tmp_path / "a.json", tmp_path, classes=["car"])
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read as JSON"):
        write_coco_masks(tmp_path / "b.json", tmp_path)


def test_damaged_run_lengths_raise_nothing_else(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        text = "".join(chr(one) for one in generator.integers(40, 120, generator.integers(0, 30)))
        outline = {"size": [6, 9], "counts": text}
        try:
            drawn(tmp_path, described({"category_id": 1, "segmentation": outline}))
        except ResidualSSLError:
            continue
