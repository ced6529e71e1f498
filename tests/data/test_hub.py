"""HuggingFaceSegmentation on Parquet files and image folders: who is labelled, what is read, and every fault."""

import io
import pickle
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from residual_ssl import compose, train
from residual_ssl.cli import main
from residual_ssl.data import OUTSIDE, DatasetSpec, HuggingFaceSegmentation, read_list
from residual_ssl.errors import ConfigError, DataError, MissingDataError

SPEC = DatasetSpec(["ground", "thing"], label_map={0: 0, 1: 1, 200: 255})
TRAIN, MASKED = 6, 4


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def picture(i: int) -> Image.Image:
    return Image.fromarray(np.full((6, 8, 3), 10 * i, np.uint8))


def ids(i: int) -> np.ndarray:
    found = np.zeros((6, 8), np.uint8)
    found[i, :3], found[0, 7] = 1, 200
    return found


def coloured_mask(i: int) -> Image.Image:
    """Ids behind a palette that gives class 1 the colour (1, 1, 200): a conversion to RGB or grey changes them."""
    mask = Image.fromarray(ids(i), mode="P")
    mask.putpalette([9, 9, 9, 1, 1, 200] + [50] * (254 * 3))
    return mask


def content(image: Image.Image) -> dict[str, Any]:
    file = io.BytesIO()
    image.save(file, format="PNG")
    return {"bytes": file.getvalue(), "path": None}


def parquet(folder: Path, *, image: str = "image", mask: str = "mask", **splits: list[Any]) -> dict[str, str]:
    """A Parquet file for each split, of pairs (image, mask or None)."""
    features = datasets.Features({image: datasets.Image(), mask: datasets.Image(), "note": datasets.Value("string")})
    files = {}
    for split, pairs in splits.items():
        rows: dict[str, list[Any]] = {
            image: [content(picture) for picture, _ in pairs],
            mask: [None if mask is None else content(mask) for _, mask in pairs],
            "note": ["-"] * len(pairs),
        }
        files[split] = str(folder / f"{split}.parquet")
        datasets.Dataset.from_dict(rows, features=features).to_parquet(files[split])
    return files


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    return parquet(
        tmp_path,
        train=[(picture(i), coloured_mask(i) if i < MASKED else None) for i in range(TRAIN)],
        validation=[(picture(9), Image.fromarray(ids(2)))],
    )


def source(files: dict[str, str], labelled: Any = 2, **more: Any) -> HuggingFaceSegmentation:
    return HuggingFaceSegmentation("parquet", SPEC, labelled, data_files=files, **more)


def names(samples: Any) -> list[str]:
    return [samples[i].name for i in range(len(samples))]


def test_rows_divide_and_only_those_with_a_mask_are_drawn(files: dict[str, str]) -> None:
    found = source(files)
    assert len(found.labelled) == 2
    assert sorted(names(found.labelled) + names(found.unlabelled)) == [f"train/{i:06d}" for i in range(TRAIN)]
    assert set(names(found.labelled)) <= {f"train/{i:06d}" for i in range(MASKED)}
    assert names(found.validation) == ["validation/000000"]
    assert names(source(files, "all").unlabelled) == ["train/000004", "train/000005"]


def test_draw_follows_from_the_seed(files: dict[str, str]) -> None:
    assert names(source(files, seed=1).labelled) == names(source(files, seed=1).labelled)
    assert len({tuple(names(source(files, seed=seed).labelled)) for seed in range(6)}) > 1


def test_ids_of_palette_and_grey_masks_are_read_without_their_colours(files: dict[str, str]) -> None:
    found = source(files, "all")
    for i in range(MASKED):
        sample = found.labelled[i]
        assert sample.image.unique().tolist() == [10 * i]
        assert sample.mask is not None
        assert sample.mask.tolist() == np.where(ids(i) == 200, 255, ids(i)).tolist()
    assert found.validation[0].mask.tolist() == np.where(ids(2) == 200, 255, ids(2)).tolist()  # type: ignore[union-attr]


def test_masks_of_unlabelled_rows_are_never_opened_but_for_diagnostics(tmp_path: Path) -> None:
    broken = parquet(
        tmp_path, train=[(picture(i), coloured_mask(i)) for i in range(3)], validation=[(picture(9), coloured_mask(1))]
    )
    table = datasets.Dataset.from_parquet(broken["train"]).cast_column("mask", datasets.Image(decode=False))
    spoilt = table.map(
        lambda row, i: {"mask": row["mask"] if i == 1 else {"bytes": b"-", "path": None}}, with_indices=True
    )
    spoilt.to_parquet(broken["train"])
    listed = tmp_path / "labelled.txt"
    listed.write_text("train/000001\n")
    found = source(broken, listed)
    assert names(found.labelled) == ["train/000001"]
    assert [found.unlabelled[i].mask for i in range(2)] == [None, None]
    with pytest.raises(DataError, match=r"^mask of train/000000: the mask cannot be read"):
        source(broken, listed, unlabelled_truth=True).unlabelled[0]


def test_a_hidden_class_is_known_in_the_truth_of_the_pool_alone(files: dict[str, str]) -> None:
    hidden = DatasetSpec(["ground", "corner"], label_map={0: 0, 1: OUTSIDE, 200: 1})
    found = HuggingFaceSegmentation("parquet", hidden, 2, data_files=files, unlabelled_truth=True)
    assert [found.labelled[0].mask.unique().tolist(), found.validation[0].mask.unique().tolist()] == [[0, 1, 255]] * 2
    assert found.unlabelled[0].mask.unique().tolist() == [-1, 0, 1]


def test_one_more_split_joins_the_unlabelled_and_needs_no_mask_column(files: dict[str, str], tmp_path: Path) -> None:
    bare = datasets.Features(image=datasets.Image())
    extra = datasets.Dataset.from_dict({"image": [content(picture(7))]}, features=bare)
    files["extra"] = str(tmp_path / "extra.parquet")
    extra.to_parquet(files["extra"])
    found = source(files, "all", unlabelled="extra")
    assert names(found.unlabelled) == ["train/000004", "train/000005", "extra/000000"]
    assert found.unlabelled[2].image.unique().tolist() == [70]
    with pytest.raises(ConfigError, match=r"mask: got column 'mask' .*split 'extra', which is not there"):
        source(files, 1, train="extra")


def test_parts_of_a_split_are_splits(tmp_path: Path) -> None:
    files = parquet(tmp_path, train=[(picture(i), coloured_mask(i)) for i in range(5)])
    found = source(files, 1, train="train[:3]", validation="train[3:]")
    assert len(found.labelled) + len(found.unlabelled) == 3
    assert [found.validation[i].image.max().item() for i in range(2)] == [30, 40]


def test_a_damaged_file_is_said_to_be_one(files: dict[str, str]) -> None:
    Path(files["train"]).write_bytes(b"no table")
    with pytest.raises(DataError, match=r"dataset 'parquet', split 'train': .*Parquet magic bytes"):
        source(files)


def test_image_folder_with_masks_in_its_metadata(tmp_path: Path) -> None:
    root = tmp_path / "folder"
    for part, count, masked in (("train", 3, 2), ("validation", 1, 1)):
        (root / part).mkdir(parents=True)
        lines = ["file_name,mask_file_name"]
        for i in range(count):
            picture(i).save(root / part / f"{i}.png")
            if i < masked:
                coloured_mask(i).save(root / part / f"{i}_ids.png")
            lines.append(f"{i}.png,{f'{i}_ids.png' if i < masked else ''}")
        (root / part / "metadata.csv").write_text("\n".join(lines) + "\n")
    found = HuggingFaceSegmentation("imagefolder", SPEC, "all", data_dir=str(root))
    assert (len(found.labelled), len(found.unlabelled), len(found.validation)) == (2, 1, 1)
    assert found.labelled[1].mask.tolist() == np.where(ids(1) == 200, 255, ids(1)).tolist()  # type: ignore[union-attr]
    assert found.unlabelled[0].image.unique().tolist() == [20]


def test_columns_have_the_names_that_are_given(tmp_path: Path) -> None:
    pairs = [(picture(i), coloured_mask(i)) for i in range(2)]
    files = parquet(tmp_path, image="photo", mask="annotation", train=pairs, validation=pairs)
    assert source(files, 1, image="photo", mask="annotation").labelled[0].mask is not None


def test_samples_travel_to_loading_processes(files: dict[str, str]) -> None:
    found = source(files, "all").labelled
    again = pickle.loads(pickle.dumps(found))
    assert torch.equal(again[2].image, found[2].image)
    assert torch.equal(again[2].mask, found[2].mask)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"image": "photo"}, ConfigError, "image: got column 'photo' .* which is not there; .* one of image, mask"),
        ({"mask": "note"}, ConfigError, "mask: got column 'note' .* which holds Value"),
        ({"labelled": 5}, ConfigError, "labelled: got 5, expected 1 … 4"),
        ({"train": "trian"}, DataError, "dataset 'parquet', split 'trian': Unknown split"),
        ({"validation": "train"}, DataError, "both in train and in validation"),
        ({"labelled": "/nowhere.txt"}, MissingDataError, "nowhere.txt: no such split list"),
        ({"data_files": "/nowhere.parquet"}, MissingDataError, "nowhere.parquet"),
    ],
)
def test_faults_are_found_at_construction(
    arguments: dict[str, Any], error: type[Exception], message: str, files: dict[str, str]
) -> None:
    with pytest.raises(error, match=message):
        HuggingFaceSegmentation("parquet", SPEC, **{"labelled": 2, "data_files": files, **arguments})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train/000009", "no such rows: train/000009; rows are named train/000000 … train/000005"),
        ("train/000005", "1 of 1 labelled rows have no mask: train/000005"),
    ],
)
def test_faults_of_listed_rows(line: str, message: str, files: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text(line + "\n")
    with pytest.raises(DataError, match=message):
        source(files, tmp_path / "l.txt")


def test_faults_of_cells_name_the_row(tmp_path: Path) -> None:
    pairs = [(picture(0), picture(1)), (picture(1), Image.fromarray(ids(0)[:, :5]))]
    found = source(parquet(tmp_path, train=pairs, validation=pairs[1:]), "all")
    with pytest.raises(DataError, match=r"^mask of train/000000: mask of mode RGB"):
        found.labelled[0]
    with pytest.raises(DataError, match=r"^train/000001 is 8×6 .* 5×6"):
        found.labelled[1]


def overrides(files: dict[str, str]) -> list[str]:
    given = ",".join(f"{split}:'{file}'" for split, file in files.items())
    label_map = "dataset.label_map={0:0,1:1,200:255}"
    return [
        "dataset=hub",
        "dataset.path=parquet",
        f"dataset.data_files={{{given}}}",
        "dataset.classes=[a,b]",
        label_map,
    ]


def test_split_of_rows_is_drawn_written_and_trained_on(files: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["splits", *overrides(files), "--labelled", "3", "--out", str(out)]) == 0
    labelled = read_list(out / "labeled.txt")
    assert len(labelled) == 3
    small = ["model=small_segmenter", "algorithm=csl", "dataset.geometry.crop=32", "dataset.mask_block=8", "steps=1"]
    run = ["labelled_batch=2", "unlabelled_batch=2", "warmup_steps=0", "device=cpu", f"run_dir={tmp_path / 'run'}"]
    result = train(compose([*overrides(files), f"dataset.labelled={out / 'labeled.txt'}", *small, *run]))
    assert result.last["step"] == 1
