"""Images in a folder for each class: their classes, their order, and lists of them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from residual_ssl.data import OUTSIDE, ClassFolders
from residual_ssl.errors import ConfigError, DataError, MissingDataError


def put(path: Path, colour: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((6, 8, 3), colour, dtype=np.uint8)).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for place, (name, colour) in enumerate(
        [("mug/b.png", 20), ("mug/a.JPG", 10), ("bike/c.png", 30), ("pen/d.png", 40)]
    ):
        put(tmp_path / "amazon" / "images" / name, colour + place)
    (tmp_path / "amazon/images/mug/notes.txt").write_text("not an image")
    (tmp_path / "amazon/images/mug/.hidden.png").write_text("not one either")
    (tmp_path / "amazon/readme.png").write_text("beside the classes")
    return tmp_path


def test_samples_are_sorted_by_path_and_their_class_is_their_folder(root: Path) -> None:
    samples = ClassFolders(root, ["mug", "bike", "pen"], "amazon/images")
    names = [samples.entry(i).image for i in range(len(samples))]
    folder = "amazon/images"
    assert names == [f"{folder}/bike/c.png", f"{folder}/mug/a.JPG", f"{folder}/mug/b.png", f"{folder}/pen/d.png"]
    assert samples.labels == (1, 0, 0, 2)
    assert samples[2].label == 0
    assert samples[2].name == names[2]
    assert samples[2].image.shape == (3, 6, 8)
    assert samples[2].image.unique().tolist() == [20]


def test_folders_that_are_not_wanted_are_of_none_of_the_classes(root: Path) -> None:
    assert ClassFolders(root, ["mug", "bike"], "amazon/images").labels == (1, 0, 0, OUTSIDE)


def test_a_list_says_which_images_and_its_ids_are_not_read(root: Path) -> None:
    listed = root / "amazon_train.txt"
    listed.write_text("amazon/images/pen/d.png 7\namazon/images/bike/c.png 300\n")
    samples = ClassFolders(root, ["bike", "pen"], listed=listed)
    assert [(samples[i].name, samples[i].label) for i in range(2)] == [
        ("amazon/images/pen/d.png", 1),
        ("amazon/images/bike/c.png", 0),
    ]
    listed.write_text("amazon/images/pen/e.png 7\namazon/images/bike/c.png 300\n")
    with pytest.raises(DataError, match=r"1 of 2 entries are not there: amazon/images/pen/e.png; expected paths below"):
        ClassFolders(root, ["bike", "pen"], listed=listed)


def test_what_is_not_there_is_named_with_what_is(root: Path) -> None:
    with pytest.raises(MissingDataError, match=r"webcam.*is not a folder.*there are: amazon"):
        ClassFolders(root, ["mug", "bike"], "webcam/images")
    with pytest.raises(ConfigError, match=r"classes: stapler not among those of .*, which are bike, mug, pen"):
        ClassFolders(root, ["mug", "stapler"], "amazon/images")
    (root / "empty" / "mug").mkdir(parents=True)
    with pytest.raises(DataError, match=r"no folder in it has a file that ends with .jpg"):
        ClassFolders(root, ["mug", "bike"], "empty")
