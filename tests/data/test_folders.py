"""ImageFolders: who is labelled, what is read, and every fault that is found before training."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from residual_ssl.data import OUTSIDE, DatasetSpec, ImageFolders, SegmentationSource
from residual_ssl.errors import ConfigError, DataError, MissingDataError

SPEC = DatasetSpec(["ground", "thing"], label_map={0: 0, 1: 1, 11: 255})
TRAIN = {"images": "train", "masks": "trainannot"}
VALIDATION = {"images": "val", "masks": "valannot"}


def _pair(
    root: Path, images: str, masks: str | None, stem: str, value: int = 0, size: tuple[int, int] = (6, 8)
) -> None:
    height, width = size
    (root / images).mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), value, dtype=np.uint8)).save(root / images / f"{stem}.png")
    if masks is not None:
        (root / masks).mkdir(parents=True, exist_ok=True)
        ids = np.zeros((height, width), dtype=np.uint8)
        ids[0, 0], ids[-1, -1] = 11, 1
        Image.fromarray(ids).save(root / masks / f"{stem}.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Ten training pairs t0 … t9, whose grey value is their number, and three validation pairs."""
    for i in range(10):
        _pair(tmp_path, "train", "trainannot", f"t{i}", value=i)
    for i in range(3):
        _pair(tmp_path, "val", "valannot", f"v{i}")
    return tmp_path


def _folders(root: Path, labelled: Any = 3, **more: Any) -> ImageFolders:
    return ImageFolders(root, SPEC, **{"train": TRAIN, "validation": VALIDATION, "labelled": labelled, **more})


def _names(samples: Any) -> list[str]:
    return [samples[i].name for i in range(len(samples))]


def _write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_labelled_and_unlabelled_images_divide_the_training_folder(root: Path) -> None:
    source: SegmentationSource = _folders(root)
    labelled, unlabelled = _names(source.labelled), _names(source.unlabelled)
    assert len(labelled) == 3
    assert sorted(labelled + unlabelled) == [f"train/t{i}.png" for i in range(10)]
    assert _names(source.validation) == ["val/v0.png", "val/v1.png", "val/v2.png"]


def test_sample_holds_the_image_and_its_own_encoded_mask(root: Path) -> None:
    sample = _folders(root).labelled[0]
    assert sample.image.dtype == torch.uint8
    assert sample.image.shape == (3, 6, 8)
    assert sample.image.unique().tolist() == [int(sample.name[-5])]
    assert sample.mask is not None
    assert sample.mask.dtype == torch.int64
    assert (sample.mask[0, 0].item(), sample.mask[-1, -1].item(), sample.mask.sum().item()) == (255, 1, 256)


def test_sequence_ends_where_python_expects_it(root: Path) -> None:
    labelled = _folders(root).labelled
    assert labelled[-1].name == labelled[2].name
    with pytest.raises(IndexError):
        labelled[3]


def test_draw_depends_on_the_seed_and_not_on_the_listing_order(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _names(_folders(root, seed=1).labelled)
    listing = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: sorted(listing(path), reverse=True))
    assert _names(_folders(root, seed=1).labelled) == first
    assert any(_names(_folders(root, seed=seed).labelled) != first for seed in range(2, 6))


def test_unlabelled_images_need_no_mask_and_none_is_opened(root: Path) -> None:
    listed = _write(root / "labelled.txt", "t0", "t1")
    for mask in (root / "trainannot").iterdir():
        if mask.stem not in ("t0", "t1"):
            mask.write_bytes(b"opened, this would be an error")
    (root / "trainannot" / "t5.png").unlink()
    unlabelled = _folders(root, listed).unlabelled
    assert len(unlabelled) == 8
    assert all(unlabelled[i].mask is None for i in range(8))


def test_unlabelled_truth_loads_masks_where_they_exist(root: Path) -> None:
    (root / "trainannot" / "t5.png").unlink()
    unlabelled = _folders(root, _write(root / "l.txt", "t0"), unlabelled_truth=True).unlabelled
    known = {unlabelled[i].name: unlabelled[i].mask is not None for i in range(len(unlabelled))}
    assert known == {f"train/t{i}.png": i != 5 for i in range(1, 10)}


def test_a_hidden_class_is_known_in_the_truth_of_the_pool_alone(root: Path) -> None:
    hidden = DatasetSpec(["ground", "other"], label_map={0: 0, 1: OUTSIDE, 11: 1})
    folders = {"train": TRAIN, "validation": VALIDATION, "labelled": 3, "unlabelled_truth": True}
    source = ImageFolders(root, hidden, **folders)
    assert {mask_ids(source.labelled), mask_ids(source.validation)} == {(0, 1, 255)}
    assert mask_ids(source.unlabelled) == (-1, 0, 1)


def mask_ids(samples: Any) -> tuple[int, ...]:
    return tuple(torch.cat([samples[i].mask.flatten() for i in range(len(samples))]).unique().tolist())


def test_count_is_drawn_among_the_images_that_have_a_mask(root: Path) -> None:
    for i in range(8):
        (root / "trainannot" / f"t{i}.png").unlink()
    source = _folders(root, 2)
    assert _names(source.labelled) == ["train/t8.png", "train/t9.png"]
    assert len(source.unlabelled) == 8
    with pytest.raises(ConfigError, match=r"labelled: got 3, expected 1 … 2"):
        _folders(root, 3)


def test_further_folder_joins_the_unlabelled_pool(root: Path) -> None:
    _pair(root, "extra", None, "x0")
    source = _folders(root, 10, unlabelled_images="extra")
    assert _names(source.unlabelled) == ["extra/x0.png"]
    assert len(_folders(root, 8, unlabelled_images="extra").unlabelled) == 3


@pytest.mark.parametrize(
    "lines",
    [
        ("t3", "t1"),
        ("t3.png", "t1.png"),
        ("train/t3.png", "train/t1.png"),
        ("train/t3.png trainannot/t3.png", "train/t1.png trainannot/t1.png"),
        ("# comment", "", "t3.png\tt3.png", "./train/../train/t1.png"),
    ],
)
def test_list_names_images_by_stem_or_path(root: Path, lines: tuple[str, ...]) -> None:
    source = _folders(root, _write(root / "labelled.txt", *lines))
    assert _names(source.labelled) == ["train/t3.png", "train/t1.png"]
    assert all(source.labelled[i].mask is not None for i in range(2))
    assert len(source.unlabelled) == 8


def test_all_images_with_a_mask_may_be_labelled(root: Path) -> None:
    (root / "trainannot" / "t5.png").unlink()
    source = _folders(root, "all")
    assert _names(source.labelled) == [f"train/t{i}.png" for i in range(10) if i != 5]
    assert _names(source.unlabelled) == ["train/t5.png"]


def test_a_target_has_no_labelled_images_and_a_source_none_for_validation(root: Path) -> None:
    for mask in (root / "trainannot").iterdir():
        mask.unlink()
    target = _folders(root, labelled=None, train={"images": "train"})
    assert len(target.labelled) == 0
    assert _names(target.unlabelled) == [f"train/t{i}.png" for i in range(10)]
    _pair(root, "train", "trainannot", "t3")
    source = _folders(root, labelled="all", validation=None)
    assert _names(source.labelled) == ["train/t3.png"]
    assert len(source.validation) == 0


def _cities(root: Path) -> None:
    for part, city, frame in [("train", "a", 0), ("train", "b", 0), ("train", "b", 1), ("val", "c", 0)]:
        _pair(root, f"left/{part}/{city}", None, f"{city}_{frame}_left", value=frame)
        _pair(root, "unused", f"fine/{part}/{city}", f"{city}_{frame}_ids")


def test_star_takes_the_files_of_all_folders_that_match_and_mask_paths_lead_to_their_masks(tmp_path: Path) -> None:
    _cities(tmp_path)
    (tmp_path / "fine" / "train" / "a" / "a_0_ids.png").unlink()
    source = ImageFolders(
        tmp_path,
        SPEC,
        train={"images": "left/train/*"},
        validation={"images": "left/val/*"},
        labelled="all",
        mask_paths={"left/": "fine/", "_left.png": "_ids.png"},
    )
    assert _names(source.labelled) == ["left/train/b/b_0_left.png", "left/train/b/b_1_left.png"]
    assert _names(source.unlabelled) == ["left/train/a/a_0_left.png"]
    assert source.validation[0].mask is not None
    assert source.labelled.entry(1) == ("left/train/b/b_1_left.png", "fine/train/b/b_1_ids.png")


def test_mask_paths_overrule_the_second_column_of_lists(tmp_path: Path) -> None:
    _cities(tmp_path)
    listed = _write(tmp_path / "l.txt", "left/train/b/b_1_left.png fine/train/b/b_1_train_ids.png")
    places = {"train": {"images": "left/train/*"}, "validation": {"images": "left/val/*"}}
    replaced = {"left/": "fine/", "_left.png": "_ids.png"}
    source = ImageFolders(tmp_path, SPEC, **places, labelled=listed, mask_paths=replaced)
    assert source.labelled[0].mask is not None
    with pytest.raises(DataError, match=r"1 of 1 labelled images have no mask file.*lies where mask_paths lead"):
        ImageFolders(tmp_path, SPEC, **places, labelled=listed, mask_paths={"right/": "fine/"})


def test_star_that_matches_no_folder_is_named(root: Path) -> None:
    with pytest.raises(MissingDataError, match=r"'left/\*' is not a folder .* train, trainannot, val, valannot"):
        _folders(root, train={"images": "left/*"})


def test_one_stem_in_two_folders_of_a_star_is_two_images_each_with_the_mask_of_its_folder(tmp_path: Path) -> None:
    for city in "ab":
        _pair(tmp_path, f"left/{city}", f"fine/{city}", "same")
    source = ImageFolders(
        tmp_path, SPEC, train={"images": "left/*", "masks": "fine/*"}, validation=None, labelled="all"
    )
    assert [source.labelled.entry(i) for i in range(2)] == [
        (f"left/{city}/same.png", f"fine/{city}/same.png") for city in "ab"
    ]


def test_an_image_is_never_its_own_mask(tmp_path: Path) -> None:
    _pair(tmp_path, "t", None, "x")
    with pytest.raises(DataError, match=r"x\.png: would be its own mask.*mask_paths"):
        ImageFolders(tmp_path, SPEC, train={"images": "t", "masks": "t"}, validation=None, labelled="all")


def test_masks_that_a_list_names_are_not_in_the_pool(tmp_path: Path) -> None:
    for stem in ("a", "a_ids", "b"):
        _pair(tmp_path, "t", None, stem)
    (tmp_path / "list.txt").write_text("t/a.png t/a_ids.png\n")
    source = ImageFolders(tmp_path, SPEC, train={"images": "t"}, validation=None, labelled="list.txt")
    assert [source.unlabelled.entry(i).image for i in range(len(source.unlabelled))] == ["t/b.png"]


def test_a_mask_outside_the_folders_of_the_star_belongs_to_its_image_where_one_has_the_stem(tmp_path: Path) -> None:
    for city, stem in ("a", "a_0"), ("b", "b_0"):
        _pair(tmp_path, f"left/{city}", "fine", stem)
    train = {"images": "left/*", "masks": "fine"}
    source = ImageFolders(tmp_path, SPEC, train=train, validation=None, labelled="all")
    assert source.labelled.entry(1) == ("left/b/b_0.png", "fine/b_0.png")
    _pair(tmp_path, "left/c", None, "a_0")
    with pytest.raises(DataError, match=r"a_0"):
        ImageFolders(tmp_path, SPEC, train={**train, "masks": "fine"}, validation=None, labelled="all")


def test_mask_column_pairs_files_of_different_stems(tmp_path: Path) -> None:
    for city, stem in [("a", "a_0"), ("b", "b_0"), ("b", "b_1")]:
        _pair(tmp_path, f"left/{city}", None, f"{stem}_left")
        _pair(tmp_path, f"unused/{city}", f"fine/{city}", f"{stem}_ids")
    source = ImageFolders(
        tmp_path,
        SPEC,
        train={},
        validation={"list": str(_write(tmp_path / "v.txt", "left/a/a_0_left.png fine/a/a_0_ids.png"))},
        labelled=_write(tmp_path / "l.txt", "left/b/b_0_left.png fine/b/b_0_ids.png"),
        unlabelled=_write(tmp_path / "u.txt", "left/b/b_1_left.png fine/b/not_there.png"),
    )
    assert _names(source.labelled) == ["left/b/b_0_left.png"]
    assert source.labelled[0].mask is not None
    assert source.unlabelled[0].mask is None


def test_lists_divide_one_folder_into_subsets(root: Path) -> None:
    _write(root / "train.txt", *(f"train/t{i}.png trainannot/t{i}.png" for i in range(6)))
    _write(root / "val.txt", "t8", "t9")
    source = _folders(root, 2, train={**TRAIN, "list": "train.txt"}, validation={**TRAIN, "list": "val.txt"})
    assert (len(source.labelled), len(source.unlabelled)) == (2, 4)
    assert _names(source.validation) == ["train/t8.png", "train/t9.png"]


def test_upper_case_suffixes_are_found_and_hidden_files_are_not(root: Path) -> None:
    (root / "train" / "t0.png").rename(root / "train" / "t0.PNG")
    (root / "trainannot" / "t0.png").rename(root / "trainannot" / "t0.PNG")
    (root / "train" / "._t1.png").write_bytes(b"written by a file manager")
    assert "train/t0.PNG" in _names(_folders(root, 10).labelled)


def test_mask_of_another_size_is_named_with_both_files_and_sizes(root: Path) -> None:
    Image.fromarray(np.zeros((6, 7), dtype=np.uint8)).save(root / "trainannot" / "t4.png")
    source = _folders(root, _write(root / "l.txt", "t4"))
    with pytest.raises(DataError, match=r"train/t4\.png is 8×6 .*trainannot/t4\.png 7×6"):
        source.labelled[0]


def test_unknown_id_is_named_with_its_file(root: Path) -> None:
    Image.fromarray(np.full((6, 8), 5, dtype=np.uint8)).save(root / "valannot" / "v1.png")
    with pytest.raises(DataError, match=r"valannot/v1\.png: label ids 5"):
        _folders(root).validation[1]


def _remove_masks(root: Path) -> None:
    for name in ("v1", "v2"):
        (root / "valannot" / f"{name}.png").unlink()


def _empty_train(root: Path) -> None:
    for file in (root / "train").iterdir():
        file.unlink()


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda root: {"train": {"images": "trian"}}, MissingDataError, "'trian'.*train, trainannot, val, valannot"),
        (lambda root: _empty_train(root), DataError, "train: no file ends with .jpg"),
        (lambda root: _remove_masks(root), DataError, "2 of 3 validation images have no mask file: v1.png, v2.png"),
        (lambda root: {"labelled": 0}, ConfigError, "labelled: got 0, expected 1 … 10"),
        (lambda root: {"labelled": 11}, ConfigError, "labelled: got 11, expected 1 … 10"),
        (lambda root: {"labelled": True}, ConfigError, "labelled: got True"),
        (lambda root: {"labelled": "no.txt"}, MissingDataError, "no.txt: no such split list"),
        (lambda root: {"labelled": _write(root / "l.txt", "t1", "z0", "z1")}, DataError, "2 of 3 entries.*z0, z1"),
        (lambda root: {"labelled": _write(root / "l.txt", "val/v1")}, DataError, "1 of 1 entries match no image"),
        (lambda root: {"labelled": _write(root / "l.txt", "t1 nope.png")}, DataError, "1 of 1 labelled images"),
        (lambda root: {"labelled": _write(root / "l.txt", "val/v1.png")}, DataError, "labelled.*validation.*v1.png"),
        (lambda root: {"validation": TRAIN}, DataError, "3 images are both in labelled and in validation"),
        (lambda root: {"unlabelled_images": "val"}, DataError, "3 images are both in unlabelled and in validation"),
        (
            lambda root: {"labelled": _write(root / "l.txt", "t1"), "unlabelled": _write(root / "u.txt", "t1", "t2")},
            DataError,
            "1 images are both in labelled and in unlabelled",
        ),
        (lambda root: {"train": {"image": "train"}}, ConfigError, "train: got"),
    ],
)
def test_faults_are_found_at_construction(
    root: Path, spoil: Callable[[Path], dict[str, Any] | None], error: type[Exception], message: str
) -> None:
    arguments = spoil(root) or {}
    with pytest.raises(error, match=message):
        _folders(root, **arguments)


def test_missing_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"root: .*nowhere is not a folder"):
        _folders(tmp_path / "nowhere")


def test_long_lists_of_faults_show_five_and_the_count(root: Path) -> None:
    listed = _write(root / "l.txt", *(f"z{i}" for i in range(7)))
    with pytest.raises(DataError, match=r"z0, z1, z2, z3, z4, … \(7 in all\)"):
        _folders(root, listed)


def test_two_images_of_one_stem_are_ambiguous(root: Path) -> None:
    Image.fromarray(np.zeros((6, 8, 3), dtype=np.uint8)).save(root / "train" / "t0.jpg")
    with pytest.raises(DataError, match=r"train/t0\.jpg and \S+train/t0\.png have one stem"):
        _folders(root)


def test_camvid_is_read_whole(shared_data: Path) -> None:
    classes = ["sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"]
    spec = DatasetSpec(classes, label_map={**{i: i for i in range(11)}, 11: 255})
    source = ImageFolders(shared_data / "camvid", spec, train=TRAIN, validation=VALIDATION, labelled=30)
    assert (len(source.labelled), len(source.unlabelled), len(source.validation)) == (30, 337, 101)
    masks = [source.validation[i].mask for i in range(0, 101, 10)]
    seen = torch.cat([mask.flatten() for mask in masks if mask is not None]).unique().tolist()
    assert seen == [*range(11), 255]
    assert source.unlabelled[0].image.shape == (3, 360, 480)


def test_images_of_a_list_are_left_out_of_every_subset(root: Path) -> None:
    whole = _folders(root)
    entry = whole.unlabelled.entry(0).image
    (root / "bad.txt").write_text(f"{entry}\nval/never there.png\n")
    left = _folders(root, leave_out="bad.txt")
    assert len(left.labelled) + len(left.unlabelled) == len(whole.labelled) + len(whole.unlabelled) - 1
    assert entry not in {left.unlabelled.entry(i).image for i in range(len(left.unlabelled))}
    with pytest.raises(MissingDataError, match=r"no.txt: no such list of names"):
        _folders(root, leave_out="no.txt")


def test_masks_beside_further_unlabelled_images_are_no_images(root: Path) -> None:
    (root / "more").mkdir()
    for name in ("x.png", "y.png", "x_mask.png"):
        Image.fromarray(np.zeros((6, 8, 3), dtype=np.uint8)).save(root / "more" / name)
    plain = {"train/": "trainannot/", "val/": "valannot/"}
    found = _folders(root, unlabelled_images="more", mask_paths={**plain, "more/x.png": "more/x_mask.png"})
    assert {name for name in _names(found.unlabelled) if name.startswith("more")} == {"more/x.png", "more/y.png"}
