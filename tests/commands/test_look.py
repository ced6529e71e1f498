"""The contact sheet of a data set: what it counts, what it shows, what it does with files at fault."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.folder_sets import write_folders
from PIL import Image

from residual_ssl.cli import main
from residual_ssl.commands.look import look
from residual_ssl.errors import ConfigError

CLASSES = ["dataset=folders", "dataset.classes=[ground,box]", "dataset.palette=[[10,20,200],[250,40,30]]"]


def folders(root: Path, *more: str) -> list[str]:
    return [*CLASSES, f"dataset.root={root}", "dataset.labelled=4", *more]


def test_shares_and_sizes_are_those_of_the_files(tmp_path: Path) -> None:
    write_folders(tmp_path, size=lambda index: (32, 32 + 8 * (index % 2)))
    facts = look(folders(tmp_path, "dataset.labelled=all"), tmp_path / "sheet.png")
    masks = [np.asarray(Image.open(path)) for path in (tmp_path / "train" / "masks").iterdir()]
    labelled = facts.subsets["labelled"]
    boxes = sum(int(mask.sum()) for mask in masks) / sum(mask.size for mask in masks)
    assert labelled.shares == pytest.approx((1 - boxes, boxes))
    assert (labelled.samples, labelled.holding, labelled.without_label) == (8, (8, 8), 0)
    assert sorted(set(labelled.sizes)) == [(32, 32), (32, 40)]
    assert "unlabelled" not in facts.subsets
    assert facts.subsets["validation"].samples == 3


def test_points_without_a_label_are_counted_apart(tmp_path: Path) -> None:
    write_folders(tmp_path, mask=lambda ids: np.where(ids == 1, np.uint8(255), np.uint8(0)))
    labelled = look(folders(tmp_path), tmp_path / "sheet.png").subsets["labelled"]
    assert labelled.shares == (1, 0)
    assert labelled.without_label == pytest.approx(1 / 16)


def test_the_sheet_shows_labels_over_labelled_images_and_never_over_unlabelled_ones(tmp_path: Path) -> None:
    write_folders(tmp_path, mask=lambda ids: np.ones_like(ids))
    look(folders(tmp_path, "dataset.unlabelled_truth=true"), tmp_path / "some" / "sheet.png")
    pixels = np.asarray(Image.open(tmp_path / "some" / "sheet.png").convert("RGB")).astype(int)
    red = (pixels[..., 0] - pixels[..., 2] > 90) & (pixels[..., 1] < 110)
    # 4 labelled and 3 validation images under the red of their class; 4 unlabelled ones are grey noise.
    column = 0.4 * (1320 - 2 * 38) / 6  # a part of a picture's side
    assert 7 * column**2 < red.sum() < 9 * (2.5 * column) ** 2
    bare = look(folders(tmp_path, "dataset.unlabelled_truth=false"), tmp_path / "bare.png")
    assert bare.subsets["unlabelled"].shares == ()
    assert np.array_equal(pixels, np.asarray(Image.open(tmp_path / "bare.png").convert("RGB")))


def test_an_image_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    write_folders(tmp_path)
    for index in (0, 3, 5):
        (tmp_path / "train" / "images" / f"{index}.png").write_bytes(b"no image")
    facts = look(folders(tmp_path, "dataset.labelled=all"), tmp_path / "sheet.png")
    assert facts.subsets["labelled"].samples == 8
    assert len(facts.subsets["labelled"].sizes) == 5


def test_classified_images_have_the_names_of_their_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("cat", "dog"):
        for index in range(5):
            path = tmp_path / "animals" / name / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((20, 24, 3), 40 * index, np.uint8)).save(path)
    assert main(["look", "--images", "animals", "--labelled", "4", "--out", "sheet.png", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["subsets"]["labelled"]["classes"]["cat"] == {"share": 0.5, "samples": 2}
    assert found["subsets"]["unlabelled"]["classes"] == {}
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width == 1320


@pytest.mark.parametrize(
    ("overrides", "out", "message"),
    [
        (["dataset=digit_rows"], "sheet.png", "samples of FeatureTask are no images"),
        (["dataset=digit_scenes"], "sheet.jpg", "expected the name of a PNG file"),
    ],
)
def test_what_cannot_be_shown_is_said(overrides: list[str], out: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        look(overrides, tmp_path / out)
    assert not (tmp_path / out).exists()
