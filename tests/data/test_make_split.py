"""`residual-ssl splits`: lists out of folders, read back by the library."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from residual_ssl.cli import main
from residual_ssl.data import DatasetSpec, ImageFolders, read_list

RARE = 7


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twenty training images, class 2 in the mask of number 7 alone, none for 18 and 19; two for validation."""
    root = tmp_path / "data"
    for part, count, masks in (("train", 20, 18), ("val", 2, 2)):
        for i in range(count):
            ids = np.zeros((4, 6), np.uint8)
            ids[0], ids[1] = 1, 255
            ids[2, 2] = 2 if (part, i) == ("train", RARE) else 0
            for kind, pixels in (("images", ids), ("masks", ids)):
                (root / part / kind).mkdir(parents=True, exist_ok=True)
                if kind == "images" or i < masks:
                    Image.fromarray(pixels).save(root / part / kind / f"{i:02d}.png")
    return root


def run(root: Path, out: Path, *more: str, labelled: int = 4) -> int:
    folders = ["dataset=folders", f"dataset.root={root}", "dataset.classes=[ground,road,pole,sky]"]
    return main(["splits", *folders, *more, "--labelled", str(labelled), "--out", str(out)])


def test_lists_divide_the_training_images_and_cover_the_rare_class(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(root, tmp_path / "out") == 0
    labelled, unlabelled = (read_list(tmp_path / "out" / f"{name}.txt") for name in ("labeled", "unlabeled"))
    assert len(labelled) == 4
    assert (f"train/images/{RARE:02d}.png", f"train/masks/{RARE:02d}.png") in labelled
    assert sorted(entry.image for entry in labelled + unlabelled) == [f"train/images/{i:02d}.png" for i in range(20)]
    assert {entry.image for entry in unlabelled if entry.mask is None} == {f"train/images/{i}.png" for i in (18, 19)}
    printed = capsys.readouterr().out
    rows = dict(line.split(maxsplit=1) for line in printed.splitlines())
    assert [rows[name].split() for name in ("ground", "road", "pole", "sky")] == [
        ["4", "18"],
        ["4", "18"],
        ["1", "1"],
        ["0", "0"],
    ]
    assert "in no training mask: sky" in printed
    assert "16 images" in rows["unlabelled"]
    assert "2 have no mask" in rows["unlabelled"]


def test_lists_train_as_the_split_they_say(root: Path, tmp_path: Path) -> None:
    assert run(root, tmp_path / "out") == 0
    spec = DatasetSpec(["ground", "road", "pole", "sky"])
    source = ImageFolders(
        root,
        spec,
        train={"images": "train/images", "masks": "train/masks"},
        validation={"images": "val/images", "masks": "val/masks"},
        labelled=tmp_path / "out" / "labeled.txt",
        unlabelled=tmp_path / "out" / "unlabeled.txt",
    )
    assert (len(source.labelled), len(source.unlabelled), len(source.validation)) == (4, 16, 2)
    assert any(2 in source.labelled[i].mask.unique() for i in range(4))  # type: ignore[union-attr]


def test_split_follows_from_the_seed(root: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2), ("d", 3)):
        assert run(root, tmp_path / name, f"seed={seed}") == 0
    texts = {name: (tmp_path / name / "labeled.txt").read_text() for name in "abcd"}
    assert texts["a"] == texts["b"]
    assert len(set(texts.values())) > 1


def test_names_with_spaces_read_back(root: Path, tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (root / "train" / kind / f"{RARE:02d}.png").rename(root / "train" / kind / "a b.png")
    assert run(root, tmp_path / "out") == 0
    assert ("train/images/a b.png", "train/masks/a b.png") in read_list(tmp_path / "out" / "labeled.txt")


def test_a_class_that_too_few_images_leave_out_is_named(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = root / "train" / "masks" / "00.png"
    Image.fromarray(np.full((4, 6), 3, np.uint8)).save(mask)
    assert run(root, tmp_path / "out", labelled=1) == 0
    assert "without a labelled image: sky; label more images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "labelled", "message"),
    [
        ([], 19, "labelled: got 19, expected 1 … 18, the training images that have a mask"),
        (["dataset.validation.images=train/images"], 3, "18 images are both in labelled and in validation"),
        (["dataset.classes=[ground,road]"], 3, "07.png: label ids 2 are not in the dataset specification"),
    ],
)
def test_faults_leave_no_list(
    more: list[str], labelled: int, message: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(root, tmp_path / "out", *more, labelled=labelled) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_name_with_spaces_and_no_mask_is_refused_before_anything_is_written(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "train" / "images" / "19.png").rename(root / "train" / "images" / "1 9.png")
    assert run(root, tmp_path / "out") == 2
    assert "train/images/1 9.png': a list cannot hold this name" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_lists_that_are_there_are_not_overwritten(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(root, tmp_path / "out") == 0
    before = (tmp_path / "out" / "labeled.txt").read_text()
    assert run(root, tmp_path / "out", "seed=5", labelled=3) == 2
    assert "holds labeled.txt and unlabeled.txt already" in capsys.readouterr().err
    assert (tmp_path / "out" / "labeled.txt").read_text() == before


def test_a_data_set_that_renders_its_samples_has_nothing_to_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["splits", "dataset=digit_scenes", "--labelled", "3", "--out", str(tmp_path / "out")]) == 2
    assert "DigitScenes makes its own subsets" in capsys.readouterr().err
