"""The doctor on data sets: every kind of fault inside files is found before training, and can be left out."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.folder_sets import folder_config, write_folders
from helpers.tiff_files import write_tiff
from PIL import Image

from residual_ssl import train
from residual_ssl.cli import main
from residual_ssl.commands.doctor import Examination, examine
from residual_ssl.commands.doctor.findings import FAULTS, REMARKS
from residual_ssl.errors import ConfigError

LABELLED, POOL, VALIDATION = "train/images/0.png", "train/images/7.png", "val/images/1.png"
MASK = "train/masks/0.png"


def overrides(root: Path) -> list[str]:
    (root / "labelled.txt").write_text("".join(f"train/images/{i}.png\n" for i in range(4)))
    return [
        "dataset=folders",
        f"dataset.root='{root}'",
        "dataset.classes=[ground,box]",
        "dataset.labelled=labelled.txt",
    ]


def look(root: Path, *further: str) -> Examination:
    return examine([*overrides(root), *further], workers=0)


def rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray], **options: object) -> None:
    with Image.open(path) as image:
        pixels = np.array(image)
    Image.fromarray(change(pixels)).save(path, **options)


def truncate(path: Path, size: int = 200) -> None:
    path.write_bytes(path.read_bytes()[:size])


def pages(path: Path) -> None:
    with Image.open(path) as image:
        image.load()
        image.save(path.with_suffix(".tif"), save_all=True, append_images=[image.copy()])
    path.unlink()


def fourth_band(path: Path) -> None:
    write_tiff(path.with_suffix(".tif"), (32, 32), samples=4, bits=8)
    path.unlink()


def deep_colour(path: Path) -> None:
    write_tiff(path.with_suffix(".tif"), (32, 32), samples=3, bits=16)
    path.unlink()


def turned(root: Path) -> None:
    with Image.open(root / LABELLED) as image:
        exif = Image.Exif()
        exif[0x0112] = 3
        image.convert("RGB").save(root / "train/images/0.jpg", exif=exif)
    (root / LABELLED).unlink()
    (root / "labelled.txt").unlink(missing_ok=True)


# What is done to a data set, and the kind and the set of the finding that must come.
FAULTY: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "empty image": (lambda root: (root / LABELLED).write_bytes(b""), "empty", "labelled"),
    "empty mask": (lambda root: (root / MASK).write_bytes(b""), "empty", "labelled"),
    "empty in the pool": (lambda root: (root / POOL).write_bytes(b""), "empty", "unlabelled"),
    "truncated image": (lambda root: truncate(root / LABELLED), "truncated", "labelled"),
    "truncated in the pool": (lambda root: truncate(root / POOL), "truncated", "unlabelled"),
    "truncated for validation": (lambda root: truncate(root / VALIDATION), "truncated", "validation"),
    "truncated mask": (lambda root: truncate(root / MASK, 60), "truncated", "labelled"),
    "text": (lambda root: (root / POOL).write_text("no image"), "unreadable", "unlabelled"),
    "sixteen bits": (
        lambda root: Image.fromarray(np.zeros((32, 32), np.uint16)).save(root / POOL),
        "bit depth",
        "unlabelled",
    ),
    "sixteen bits of colour": (lambda root: deep_colour(root / POOL), "bit depth", "unlabelled"),
    "fourth band": (lambda root: fourth_band(root / POOL), "bands", "unlabelled"),
    "pages": (lambda root: pages(root / POOL), "pages", "unlabelled"),
    "mask of another size": (lambda root: rewrite(root / MASK, lambda x: x[:30]), "size", "labelled"),
    "image of another size": (lambda root: rewrite(root / LABELLED, lambda x: x[:, :20]), "size", "labelled"),
    "mask of colours": (
        lambda root: rewrite(root / MASK, lambda x: np.repeat(x[..., None], 3, 2)),
        "mode",
        "labelled",
    ),
    "other ids": (lambda root: rewrite(root / MASK, lambda x: x * 7), "ids", "labelled"),
    "no label": (lambda root: rewrite(root / MASK, lambda x: x * 0 + 255), "no label", "labelled"),
    "no label for validation": (
        lambda root: rewrite(root / "val/masks/1.png", lambda x: x * 0 + 255),
        "no label",
        "validation",
    ),
    "folder": (lambda root: (root / "train/images/x.jpg").mkdir(), "no file", ""),
    "pipe": (lambda root: os.mkfifo(root / "train/images/x.jpg"), "no file", ""),
    "link to nowhere": (lambda root: (root / "train/images/x.png").symlink_to("nowhere.png"), "missing", ""),
    "copy for validation": (lambda root: shutil.copy(root / LABELLED, root / VALIDATION), "leak", "labelled"),
    "link for validation": (
        lambda root: ((root / VALIDATION).unlink(), (root / VALIDATION).symlink_to(root / POOL)),
        "leak",
        "unlabelled",
    ),
    "copy in other bytes": (
        lambda root: Image.open(root / POOL).save(root / VALIDATION, compress_level=0),
        "leak",
        "unlabelled",
    ),
    "contradiction": (
        lambda root: (
            shutil.copy(root / LABELLED, root / "train/images/1.png")
            and rewrite(root / "train/masks/1.png", lambda x: 1 - x)
        ),
        "contradiction",
        "labelled",
    ),
}
ODD: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "copy in the pool": (lambda root: shutil.copy(root / POOL, root / "train/images/6.png"), "copy", "unlabelled"),
    "labelled in the pool": (lambda root: shutil.copy(root / LABELLED, root / POOL), "labelled twice", "unlabelled"),
    "one colour": (lambda root: rewrite(root / POOL, lambda x: x * 0 + 9), "one colour", "unlabelled"),
    "outside": (
        lambda root: (
            shutil.move(root / POOL, root.parent / f"{root.name}-outside.png"),
            (root / POOL).symlink_to(root.parent / f"{root.name}-outside.png"),
        ),
        "outside",
        "unlabelled",
    ),
    "class without a label": (
        lambda root: [rewrite(path, lambda x: x * 0) for path in (root / "val/masks").iterdir()],
        "class without label",
        "validation",
    ),
}


@pytest.mark.parametrize("name", FAULTY)
def test_a_fault_is_found_and_a_training_runs_without_it(name: str, tmp_path: Path) -> None:
    damage, kind, subset = FAULTY[name]
    write_folders(tmp_path)
    damage(tmp_path)
    found = look(tmp_path)
    assert (kind, subset) in {(finding.kind, finding.subset) for finding in found.faults}
    (tmp_path / "bad.txt").write_text("".join(f"{line}\n" for line in found.leave_out))
    left = look(tmp_path, "dataset.leave_out=bad.txt")
    # What two files say together, and what is no file of the set, leaves the list empty.
    if found.leave_out:
        assert not [finding for finding in left.faults if finding.kind == kind]
        assert sum(left.counts.values()) == sum(found.counts.values()) - len(found.leave_out)


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_is_a_remark(name: str, tmp_path: Path) -> None:
    damage, kind, subset = ODD[name]
    write_folders(tmp_path)
    damage(tmp_path)
    found = look(tmp_path)
    assert (kind, subset) in {(finding.kind, finding.subset) for finding in found.findings}
    assert not found.faults
    assert not found.leave_out


def test_an_orientation_with_a_mask_is_found(tmp_path: Path) -> None:
    write_folders(tmp_path)
    options = overrides(tmp_path)
    turned(tmp_path)
    (tmp_path / "labelled.txt").write_text("train/images/0.jpg\n")
    assert [finding.kind for finding in examine(options, workers=0).faults] == ["orientation"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_found(tmp_path: Path) -> None:
    write_folders(tmp_path)
    (tmp_path / POOL).chmod(0)
    assert [finding.kind for finding in look(tmp_path).faults] == ["permission"]


def test_an_image_of_too_many_pixels_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folders(tmp_path, size=lambda index: (64, 64) if index == 7 else (32, 32))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1500)
    assert [finding.kind for finding in look(tmp_path).faults] == ["too large"]


def test_two_faults_of_one_sample_are_both_told(tmp_path: Path) -> None:
    write_folders(tmp_path)
    truncate(tmp_path / LABELLED)
    rewrite(tmp_path / MASK, lambda x: x * 7)
    found = look(tmp_path)
    assert [finding.kind for finding in found.faults] == ["ids", "truncated"]
    assert found.leave_out == [LABELLED]


def test_a_clean_set_is_told_to_be_clean(tmp_path: Path) -> None:
    write_folders(tmp_path)
    found = look(tmp_path)
    assert not found.findings
    assert found.counts == {"labelled": 4, "unlabelled": 4, "validation": 3}
    assert found.sizes["labelled"] == ((32, 32), (32, 32))
    assert found.classes["labelled"] == {"ground": 4 * (32 * 32 - 64), "box": 4 * 64}


def test_binary_masks_of_0_and_255_are_told_what_to_do(tmp_path: Path) -> None:
    write_folders(tmp_path, mask=lambda ids: ids * 255)
    found = [finding for finding in look(tmp_path).findings if finding.kind == "class without label"]
    assert [finding.subset for finding in found] == ["labelled", "validation"]
    assert all("6% of the points have no label" in finding.text for finding in found)
    assert all("dataset.label_map={0: 0, 255: 1}" in finding.text for finding in found)
    assert not look(tmp_path, "dataset.ignore_index=254", "dataset.label_map={0: 0, 255: 1}").findings


def test_every_kind_has_a_meaning_and_none_is_both() -> None:
    assert not FAULTS.keys() & REMARKS.keys()
    kinds = {kind for _, kind, _ in [*FAULTY.values(), *ODD.values()]}
    by_other_tests = {"orientation", "permission", "not used", "rare class", "too large"}
    assert kinds | by_other_tests == FAULTS.keys() | REMARKS.keys()


def test_rare_classes_and_unused_files(tmp_path: Path) -> None:
    write_folders(tmp_path / "a", size=lambda index: (128, 128))
    for path in sorted((tmp_path / "a/train/masks").iterdir()):
        rewrite(path, lambda x: x * 0 + (np.indices(x.shape).sum(0) == 0))
    (tmp_path / "a/spare").mkdir()
    shutil.copy(tmp_path / "a" / POOL, tmp_path / "a/train/images/spare.png")
    listed = tmp_path / "a/pool.txt"
    listed.write_text("train/images/7.png\n")
    kinds = {finding.kind for finding in look(tmp_path / "a", f"dataset.unlabelled={listed}").findings}
    assert {"rare class", "not used"} <= kinds


def test_folders_of_classes_are_looked_at_too(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for domain in ("amazon", "webcam"):
        for name in ("bike", "mug"):
            folder = tmp_path / domain / name
            folder.mkdir(parents=True)
            for index in range(3):
                pixels = generator.integers(0, 255, (20, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.png")
    truncate(tmp_path / "amazon/bike/1.png")
    os.mkfifo(tmp_path / "webcam/mug/9.jpg")
    options = [
        "dataset=visda",
        "source=amazon",
        "target=webcam",
        f"dataset.root='{tmp_path}'",
        "dataset.classes=[bike,mug]",
    ]
    found = examine(options, workers=0)
    assert sorted(finding.kind for finding in found.faults) == ["no file", "truncated"]
    assert found.leave_out == ["amazon/bike/1.png"]
    (tmp_path / "bad.txt").write_text("amazon/bike/1.png\n")
    left = examine([*options, f"dataset.leave_out='{tmp_path / 'bad.txt'}'"], workers=0)
    assert left.counts["labelled"] == 5


def test_the_command_writes_what_it_found_and_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folders(tmp_path, train=10)
    for stem in ("7", "8"):
        truncate(tmp_path / f"train/images/{stem}.png")
    out = tmp_path / "found"
    assert main(["doctor", *overrides(tmp_path), "--out", str(out), "--workers", "2"]) == 1
    said = capsys.readouterr()
    assert "2  truncated: the file is cut off" in said.out
    assert f"2 samples to leave out, or to mend: dataset.leave_out={out / 'leave_out.txt'}" in said.out
    assert "2 faults in this data set" in said.err
    record = json.loads((out / "doctor.json").read_text())
    assert [row["kind"] for row in record["findings"]] == ["truncated", "truncated"]
    assert (out / "leave_out.txt").read_text() == "train/images/7.png\ntrain/images/8.png\n"
    assert "truncated" in (out / "doctor.txt").read_text()
    pairs = [line.split("\t") for line in (out / "pairs.tsv").read_text().splitlines()]
    assert pairs[0] == ["subset", "image", "mask"]
    found = {image: (subset, mask) for subset, image, mask in pairs[1:]}
    assert len(found) == len(pairs) - 1 == 13
    for image, (subset, mask) in found.items():
        expected = "" if subset == "unlabelled" else image.replace("/images/", "/masks/")
        assert (Path(image).is_file(), mask) == (True, expected)
    config = folder_config(tmp_path, "algorithm=fixmatch", f"dataset.leave_out='{out / 'leave_out.txt'}'")
    assert train(config).skipped_samples == 0
    assert main(["doctor", *overrides(tmp_path), f"dataset.leave_out={out / 'leave_out.txt'}", "--workers", "0"]) == 0
    assert "Faults: none" in capsys.readouterr().out


def test_embedded_scenes_and_rows_are_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "dataset=handwritten_digits", "dataset.split=20", "--workers", "0"]) == 0
    assert main(["doctor", "experiment=digit_rows", "--workers", "0"]) == 0
    assert "Faults: none" in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"workers: got -1"):
        examine(["dataset=digit_scenes"], workers=-1)
