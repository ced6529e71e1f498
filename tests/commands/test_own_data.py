"""Folders of one's own images by options: the configuration that they become, and what is held out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.folder_sets import write_folders
from PIL import Image

from residual_ssl import compose
from residual_ssl.cli import main
from residual_ssl.commands.own_data import OwnData, write_choices
from residual_ssl.commands.own_data.own_data import default_folder
from residual_ssl.commands.own_data.validation import held_out
from residual_ssl.config.components import build
from residual_ssl.data import read_list
from residual_ssl.data.splits.lists import list_text
from residual_ssl.errors import ConfigError, DataError, ResidualSSLError

QUICK = ["steps=1", "warmup_steps=0", "device=cpu", "log_every=1", "algorithm=supervised"]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def picture(path: Path, size: tuple[int, int] = (32, 32), seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)


def photographs(count: int = 12, masks: int = 8, ids: tuple[int, int] = (0, 1), ending: str = ".png") -> None:
    """``photos/shot 00.png`` … and the first masks of them, a square in each."""
    for index in range(count):
        picture(Path(f"photos/shot {index:02d}.png"), seed=index)
        if index < masks:
            mask = np.full((32, 32), ids[0], np.uint8)
            mask[8:20, 8:20] = ids[1]
            Path("masks").mkdir(exist_ok=True)
            Image.fromarray(mask).save(f"masks/shot {index:02d}{ending}")


def animals(each: int = 6, folder: str = "animals") -> None:
    for number, name in enumerate(("cat", "dog")):
        for index in range(each):
            picture(Path(folder) / name / f"{index}.png", seed=100 * number + index)


def composed(data: OwnData, *overrides: str) -> dict[str, Any]:
    written = write_choices(data)
    return compose([f"experiment={written.name}", "algorithm=supervised", *overrides], config_dir=written.config_dir)


def source_of(data: OwnData) -> Any:
    return build(composed(data)["task"], "task").source


def names(samples: Any) -> set[str]:
    return {samples.entry(index).image for index in range(len(samples))}


SHOTS = OwnData("photos", "masks", ["ground", "box"], labelled="5")


def test_one_command_trains_and_the_one_that_it_names_continues_the_same_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    photographs()
    own = ["--images", "photos", "--masks", "masks", "--classes", "ground,box", "--labelled", "5"]
    assert main(["train", *own, *QUICK]) == 0
    said = capsys.readouterr()
    assert "residual-ssl train --config-dir configs experiment=photos" in said.err
    assert "last  step 1" in said.out
    assert main(["train", "--config-dir", "configs", "experiment=photos", *QUICK]) == 0
    assert "last  step 1" in capsys.readouterr().out
    assert [path.name for path in Path("runs/photos").iterdir()] == ["5"]


def test_the_configuration_is_that_of_folders_with_what_was_said(tmp_path: Path) -> None:
    photographs()
    task = composed(SHOTS)["task"]
    by_hand = [
        *("dataset=folders", f"dataset.root={tmp_path}", "dataset.classes=[ground,box]", "dataset.labelled=5"),
        *("dataset.train={images: photos, masks: masks}", "dataset.validation={images: photos, masks: masks}"),
        *("dataset.geometry.crop=[32,32]", "dataset.mask_block=4", "algorithm=supervised"),
    ]
    expected = compose(by_hand)["task"]
    for subset in ("train", "validation"):
        assert task["source"][subset].pop("list") == str(tmp_path / "configs" / "lists" / "photos" / f"{subset}.txt")
        expected["source"][subset].pop("list", None)
    assert task == expected


@pytest.mark.parametrize(
    ("size", "crop", "block"),
    [((64, 64), [64, 64], 8), ((256, 256), [256, 256], 32), ((300, 480), [300, 321], 32), ((20, 30), [20, 30], 2)],
)
def test_crops_are_no_larger_than_the_images(size: tuple[int, int], crop: list[int], block: int) -> None:
    write_folders(Path("data"), train=4, validation=1, size=lambda _: size)
    task = composed(OwnData("data/train/images", "data/train/masks", ["ground", "box"]))["task"]
    assert task["geometry"]["crop"] == crop
    chosen = compose(["experiment=data", "algorithm=csl"], config_dir="configs")["algorithm"]["branches"]
    assert chosen["masked"]["mask"]["block"] == block


@pytest.mark.parametrize(("labelled", "batch"), [("3", 3), ("20", 8)])
def test_a_labelled_batch_has_no_more_samples_than_there_are_labels(labelled: str, batch: int) -> None:
    photographs(count=30, masks=30)
    config = composed(OwnData("photos", "masks", ["ground", "box"], labelled=labelled))
    assert (config["labelled_batch"], config["unlabelled_batch"]) == (batch, 8 if labelled == "3" else 4)


def test_a_fifth_of_the_masks_is_held_out_as_far_as_labels_leave_some() -> None:
    photographs(count=12, masks=10)
    for labelled, expected in (("5", 2), ("9", 1), ("10", 0), ("all", 2)):
        source = source_of(OwnData("photos", "masks", ["ground", "box"], labelled=labelled))
        assert len(source.validation) == expected
        assert len(source.labelled) == (8 if labelled == "all" else int(labelled))
        assert len(source.labelled) + len(source.unlabelled) + len(source.validation) == 12


def test_listed_images_are_not_held_out() -> None:
    photographs(count=12, masks=10)
    Path("mine.txt").write_text("# tab-separated\n" + "".join(f"shot {index:02d}\n" for index in range(8)))
    source = source_of(OwnData("photos", "masks", ["ground", "box"], labelled="mine.txt"))
    assert names(source.labelled) == {f"photos/shot {index:02d}.png" for index in range(8)}
    assert names(source.validation) <= {"photos/shot 08.png", "photos/shot 09.png"}
    assert len(source.validation) == 2


def test_more_images_move_none_that_was_held_out_into_training() -> None:
    few = [f"{index}.png" for index in range(100)]
    first = held_out(few, 20, most=100)
    later = held_out([*few, *(f"new{index}.png" for index in range(5))], 25, most=105)
    assert len(set(first) - set(later)) <= 1


@pytest.mark.parametrize("validation", [None, "none", "2", "0.25"])
def test_validation_is_what_was_asked_for(validation: str | None) -> None:
    photographs(masks=8)
    source = source_of(OwnData("photos", "masks", ["ground", "box"], labelled="3", validation=validation))
    assert len(source.validation) == 0 if validation == "none" else 2
    assert not names(source.validation) & (names(source.labelled) | names(source.unlabelled))


def test_validation_images_may_have_folders_of_their_own() -> None:
    write_folders(Path("data"))
    data = OwnData(
        "data/train/images",
        "data/train/masks",
        ["ground", "box"],
        "4",
        validation="data/val/images",
        validation_masks="data/val/masks",
    )
    source = source_of(data)
    assert names(source.validation) == {f"val/images/{index}.png" for index in range(3)}
    assert len(source.labelled) == 4


def test_masks_of_0_and_255_are_two_classes() -> None:
    photographs(ids=(0, 255))
    written = write_choices(SHOTS)
    assert "255 is taken for 'box'" in written.text
    sample = source_of(SHOTS).labelled[0]
    assert sample.mask.unique().tolist() == [0, 1]


@pytest.mark.parametrize("together", [False, True])
def test_masks_may_have_an_ending_more_than_their_images(together: bool) -> None:
    photographs(ending="_mask.png")
    if together:
        for path in [*Path("masks").iterdir()]:
            path.rename(Path("photos") / path.name)
    source = source_of(OwnData("photos", "photos" if together else "masks", ["ground", "box"], "5"))
    assert len(source.labelled) + len(source.unlabelled) + len(source.validation) == 12
    image, mask = source.labelled.files(0)
    assert mask.name == f"{image.stem}_mask.png"


def test_class_folders_are_classes_and_a_fifth_of_each_is_held_out() -> None:
    animals(each=10)
    source = source_of(OwnData("animals", labelled="4"))
    assert source.classes == ("cat", "dog")
    assert sorted(source.validation.labels) == [0, 0, 1, 1]
    assert sorted(source.labelled.labels) == [0, 0, 1, 1]
    assert len(source.unlabelled) == 12
    assert not names(source.validation) & (names(source.labelled) | names(source.unlabelled))


@pytest.mark.parametrize("name", ["val", "valid", "test"])
def test_the_usual_layout_of_train_and_validation_is_understood(name: str) -> None:
    animals(each=3, folder="animals/train")
    animals(each=2, folder=f"animals/{name}")
    source = source_of(OwnData("animals", labelled="2"))
    assert source.classes == ("cat", "dog")
    assert names(source.validation) == {f"{name}/{kind}/{index}.png" for kind in ("cat", "dog") for index in range(2)}


def test_a_folder_of_unlabelled_images_joins_the_pool() -> None:
    animals(each=4)
    for index in range(3):
        picture(Path(f"animals/pool/of/{index}.png"), seed=1000 + index)
    source = source_of(OwnData("animals", labelled="4", unlabelled="animals/pool"))
    assert source.classes == ("cat", "dog")
    assert {name for name in names(source.unlabelled) if name.startswith("pool")} == {
        f"pool/of/{index}.png" for index in range(3)
    }
    assert [label for label in source.unlabelled.labels if label is None] == [None] * 3


def test_own_classes_train_too() -> None:
    animals(each=5)
    model = ["model=small_classifier", "model.widths=[8,16]"]
    assert main(["train", "--images", "animals", "--labelled", "4", *QUICK, *model, "--quiet"]) == 0
    assert Path("runs/animals/4/supervised-0/best.pt").is_file()


def test_the_doctor_takes_the_same_options(capsys: pytest.CaptureFixture[str]) -> None:
    photographs()
    own = ["--images", "photos", "--masks", "masks", "--classes", "ground,box", "--labelled", "5"]
    assert main(["doctor", *own, "--workers", "0"]) == 0
    assert "Faults: none" in capsys.readouterr().out


def test_what_a_user_changed_is_kept_and_what_nobody_changed_is_replaced() -> None:
    photographs()
    write_choices(SHOTS)
    path = Path("configs/dataset/photos.yaml")
    write_choices(OwnData("photos", "masks", ["ground", "box"], labelled="4"))
    assert not path.with_name("photos.yaml.1").exists()
    path.write_text(path.read_text() + "ignore_index: 254\n")
    write_choices(SHOTS)
    assert "ignore_index" in path.with_name("photos.yaml.1").read_text()
    assert "ignore_index" not in path.read_text()


def test_lists_hold_names_with_spaces(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(list_text(["a b/c d.png", "e.png"]))
    assert [(entry.image, entry.mask) for entry in read_list(tmp_path / "list.txt")] == [
        ("a b/c d.png", None),
        ("e.png", None),
    ]
    with pytest.raises(DataError, match="a list cannot hold this name"):
        list_text(["a\nb.png"])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (OwnData("photos", "masks"), "the masks hold the ids 0, 1; name the classes in the order .* NAME0,NAME1"),
        (OwnData("photos", "masks", ["a", "b"], "9"), "labelled: got 9, expected at most 8"),
        (OwnData("photos", "masks", ["a", "b"], "0"), "labelled: got 0, expected a number ≥ 1"),
        (OwnData("photos", "masks", ["a", "b"], "few"), "labelled: got few, expected a number ≥ 1, a text file"),
        (OwnData("photos", "masks", ["a", "b"], validation="val"), "expected two folders: --validation"),
        (OwnData("photos", "masks", ["a", "b"], validation="1.5"), "expected a share below 1, a number"),
        (OwnData("photos", "nowhere", ["a", "b"]), "'nowhere' is not a folder"),
        (OwnData("photos", "other", ["a", "b"]), "none in other has the name of an image in photos"),
        (OwnData("photos"), "holds 0 folders, expected one for each of at least two classes"),
        (OwnData("nowhere"), "nowhere is not a folder"),
        (OwnData("animals", labelled="1"), "labelled: got 1, expected 2"),
        (OwnData("photos", "masks", ["a", "b"], name="pascal"), "name: got pascal, which the library's own"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(data: OwnData, message: str) -> None:
    photographs()
    animals(each=2)
    picture(Path("other/elsewhere.png"))
    with pytest.raises(ResidualSSLError, match=message):
        write_choices(data)
    assert not Path("configs").exists()


def test_ids_beyond_the_classes_are_named() -> None:
    photographs(ids=(0, 7))
    with pytest.raises(ConfigError, match="which are the ids 0 to 1; the masks hold also 7"):
        write_choices(SHOTS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "photos", "dataset=camvid"], "--images: got it with dataset=camvid, expected one of the two"),
        (["--masks", "masks"], "--masks: got it without --images"),
        (["--labelled", "5", "dataset=camvid"], "--labelled: got it without --images"),
    ],
)
def test_own_images_stand_in_place_of_a_data_set(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_masks_in_colours_are_read_by_the_colours_given() -> None:
    photographs()
    table = np.array([[10, 20, 30], [200, 60, 60]], np.uint8)
    for path in Path("masks").iterdir():
        Image.fromarray(table[np.array(Image.open(path))]).save(path)
    with pytest.raises(ConfigError, match=r"the masks hold colours, #0a141e \(86%\), #c83c3c \(14%\); say which"):
        write_choices(SHOTS)
    source = source_of(OwnData("photos", "masks", ["ground", "box"], "5", colours=["#0a141e", "#c83c3c", "#ffffff"]))
    assert source.labelled[0].mask.unique().tolist() == [0, 1]
    assert source.spec.palette == ((10, 20, 30), (200, 60, 60))
    with pytest.raises(ConfigError, match="colours: got 1 for 2 classes"):
        write_choices(OwnData("photos", "masks", ["ground", "box"], colours=["#0a141e"]))


def test_coco_annotations_are_drawn_as_masks() -> None:
    pytest.importorskip("pycocotools", reason="needs pycocotools: the extra coco")
    photographs(masks=0)
    outline = [[4, 4, 20, 4, 20, 12, 4, 12]]
    whole = {
        "images": [{"id": i, "file_name": f"shot {i:02d}.png", "height": 32, "width": 32} for i in range(6)],
        "annotations": [{"id": i, "image_id": i, "category_id": 9, "segmentation": outline} for i in range(6)],
        "categories": [{"id": 9, "name": "box"}],
    }
    Path("labels.json").write_text(json.dumps(whole))
    source = source_of(OwnData("photos", "labels.json", labelled="4"))
    assert source.spec.classes == ("background", "box")
    assert (len(source.labelled), len(source.unlabelled), len(source.validation)) == (4, 7, 1)
    assert int(source.labelled[0].mask.sum()) == 16 * 8


def test_lists_of_pascal_voc_say_what_is_labelled_and_measured_on() -> None:
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (Path("VOC") / folder).mkdir(parents=True)
    for index in range(8):
        picture(Path(f"VOC/JPEGImages/2007_{index}.jpg"), seed=index)
        Image.fromarray(np.eye(32, dtype=np.uint8)).save(f"VOC/SegmentationClass/2007_{index}.png")
    lists = {"train": range(3), "val": range(3, 5)}
    for name, numbers in lists.items():
        Path(f"VOC/ImageSets/Segmentation/{name}.txt").write_text("".join(f"2007_{i}\n" for i in numbers))
    source = source_of(
        OwnData(
            "VOC/JPEGImages",
            "VOC/SegmentationClass",
            ["background", "line"],
            "VOC/ImageSets/Segmentation/train.txt",
            validation="VOC/ImageSets/Segmentation/val.txt",
        )
    )
    found = {name: sorted(names(getattr(source, name))) for name in ("labelled", "validation", "unlabelled")}
    assert found["labelled"] == [f"JPEGImages/2007_{i}.jpg" for i in range(3)]
    assert found["validation"] == [f"JPEGImages/2007_{i}.jpg" for i in (3, 4)]
    assert found["unlabelled"] == [f"JPEGImages/2007_{i}.jpg" for i in (5, 6, 7)]


@pytest.mark.parametrize(("classes", "expected"), [(["ignore", "a", "b"], [255, 0]), (["a", "b", "ignore"], [0, 1])])
def test_ids_named_ignore_mean_no_label(classes: list[str], expected: list[int]) -> None:
    photographs()
    source = source_of(OwnData("photos", "masks", classes, "4"))
    assert source.spec.classes == ("a", "b")
    assert sorted(source.labelled[0].mask.unique().tolist()) == sorted(expected)


def test_photographs_get_a_word_on_networks_unless_one_was_chosen() -> None:
    write_folders(Path("data"), train=4, validation=1, size=lambda _: (160, 200))
    data = OwnData("data/train/images", "data/train/masks", ["ground", "box"])
    assert "from scratch" in write_choices(data).text
    assert "from scratch" not in write_choices(data, own_model=True).text


def test_the_librarys_own_choices_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_folder() == Path("configs")
    monkeypatch.chdir(Path(__file__).parents[2])
    assert default_folder() == Path("my_configs")
