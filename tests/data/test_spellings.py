"""Names that look alike are one name: of files, of lists, of classes; masks that are no masks are told."""

import unicodedata
from pathlib import Path

import pytest
from helpers.folder_sets import folder_config, write_folders
from PIL import Image

from residual_ssl.config.components import build
from residual_ssl.data import ClassFolders, class_ids
from residual_ssl.data.splits.spellings import composed, spellings
from residual_ssl.errors import DataError
from residual_ssl.task import Task

APART = unicodedata.normalize("NFD", "café")  # as macOS and many archives write it
ONE = unicodedata.normalize("NFC", "café")


def task(root: Path, *overrides: str) -> Task:
    made: Task = build(folder_config(root, *overrides)["task"], "task")
    return made


def rename(root: Path, kind: str, name: str) -> None:
    (root / "train" / kind / "0.png").rename(root / "train" / kind / f"{name}.png")


def test_spellings_are_tried_in_order_each_once() -> None:
    assert APART != ONE == composed(APART)
    assert spellings("a/b") == ["a/b"]
    assert spellings("a\\b") == ["a\\b", "a/b"]
    assert spellings(APART) == [APART, ONE]


@pytest.mark.parametrize("listed", [ONE, APART, f"train/images/{ONE}.png", f"train\\images\\{APART}.png"])
@pytest.mark.parametrize("stored", [ONE, APART])
def test_a_list_finds_a_file_however_its_accents_are_written(tmp_path: Path, stored: str, listed: str) -> None:
    write_folders(tmp_path)
    for kind in ("images", "masks"):
        rename(tmp_path, kind, stored)
    (tmp_path / "list.txt").write_text(f"{listed}\n1\n")
    made = task(tmp_path, "dataset.labelled=list.txt")
    names = [made.source.labelled[i].name for i in range(2)]  # type: ignore[attr-defined]
    assert names == [f"train/images/{stored}.png", "train/images/1.png"]


def test_an_image_and_its_mask_may_write_an_accent_differently(tmp_path: Path) -> None:
    write_folders(tmp_path)
    rename(tmp_path, "images", APART)
    rename(tmp_path, "masks", ONE)
    assert len(task(tmp_path, "dataset.labelled=all").source.labelled) == 8  # type: ignore[attr-defined]


def test_classes_may_write_an_accent_differently(tmp_path: Path) -> None:
    assert class_ids([APART, "tea"], [ONE, "tea"], None, "drinks") == (0, 1)
    assert class_ids([0, 1], [ONE, "tea"], ["tea", APART], "drinks") == (1, 0)
    for name in (APART, "tea"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / name / "0.png")
    assert sorted(ClassFolders(tmp_path, [ONE, "tea"]).labels) == [0, 1]  # type: ignore[type-var]


def test_a_folder_of_jpeg_masks_is_told_why_it_is_none(tmp_path: Path) -> None:
    write_folders(tmp_path)
    for path in (tmp_path / "train" / "masks").iterdir():
        path.rename(path.with_suffix(".JPG"))
    with pytest.raises(DataError, match="JPEG, which is there, changes the ids of a mask; store masks as PNG"):
        _ = task(tmp_path).source  # type: ignore[attr-defined]
