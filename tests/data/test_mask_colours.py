"""Masks in colours: each colour is the class that was said, and no other colour is taken for one."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.folder_sets import folder_config, write_folders
from PIL import Image

from residual_ssl import train
from residual_ssl.data import DatasetSpec, ImageFolders, MaskColours
from residual_ssl.data.segmentation.mask_colours import colour_of, colour_shares
from residual_ssl.errors import ConfigError, DataError

SPEC = DatasetSpec(["ground", "box"])
COLOURS = {"ground": [10, 20, 30], "box": [[200, 60, 60], [201, 60, 60]], "ignore": [255, 255, 255]}
TABLE = np.array([[10, 20, 30], [200, 60, 60], [201, 60, 60], [255, 255, 255]], np.uint8)
MEANING = torch.tensor([0, 1, 1, 255])


def picture(path: Path, places: np.ndarray, mode: str = "RGB") -> Path:
    if mode == "P":
        image = Image.fromarray(places.astype(np.uint8), mode="P")
        image.putpalette(TABLE.flatten().tolist())
    else:
        image = Image.fromarray(TABLE[places]).convert(mode)
    image.save(path)
    return path


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_each_colour_is_its_class(mode: str, tmp_path: Path) -> None:
    places = np.random.default_rng(0).integers(0, 4, (9, 13))
    read = MaskColours(COLOURS, SPEC).read(picture(tmp_path / "a.png", places, mode))
    assert torch.equal(read, MEANING[torch.from_numpy(places)])
    assert read.dtype == torch.int64


def test_other_colours_are_named_with_their_shares() -> None:
    pixels = torch.zeros(3, 2, 5, dtype=torch.uint8)
    pixels[:] = torch.tensor([10, 20, 30], dtype=torch.uint8)[:, None, None]
    pixels[:, 0, 0] = torch.tensor([1, 2, 255], dtype=torch.uint8)
    with pytest.raises(DataError, match=r"a\.png: 1 colours are of no class: #0102ff \(10\.0%\); give them in"):
        MaskColours(COLOURS, SPEC).encode(pixels, "a.png")


@pytest.mark.parametrize(
    ("colours", "message"),
    [
        ({"ground": [0, 0, 0]}, "no colour for box"),
        ({**COLOURS, "tree": [1, 1, 1]}, "'tree' is none of the classes ground, box"),
        ({**COLOURS, "box": [10, 20, 30]}, r"\[10, 20, 30\] stands for ground and for box"),
        ({**COLOURS, "box": [1, 2, 256]}, r"got \[1, 2, 256\] for box, expected three integers"),
        ({**COLOURS, "box": [1, 2]}, r"got \[1, 2\] for box, expected three integers"),
    ],
)
def test_colours_that_cannot_be_are_refused(colours: dict[str, list[int]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MaskColours(colours, SPEC)


def test_folders_of_masks_in_colours_train(tmp_path: Path) -> None:
    table = np.array([[10, 20, 30], [200, 60, 60]], np.uint8)
    write_folders(tmp_path, mask=lambda ids: table[ids])
    source = ImageFolders(
        tmp_path,
        SPEC,
        {"images": "train/images", "masks": "train/masks"},
        {"images": "val/images", "masks": "val/masks"},
        4,
        mask_colours=COLOURS,
    )
    mask = source.labelled.mask(0)
    assert mask is not None
    assert mask.unique(return_counts=True)[1].tolist() == [960, 64]
    colours = "dataset.mask_colours={ground: [10,20,30], box: [200,60,60]}"
    assert train(folder_config(tmp_path, colours, "algorithm=supervised")).last["step"] == 2


def test_the_shares_of_colours_are_counted(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", np.array([[0, 0, 0, 1]]))
    assert colour_shares([path]) == {"#0a141e": 0.75, "#c83c3c": 0.25}
    assert colour_of("#c83c3c") == (200, 60, 60)
    with pytest.raises(ConfigError, match="expected #rrggbb"):
        colour_of("red")
