"""HuggingFaceImages on Parquet files and image folders; real sets where they are beside the repository."""

import io
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from residual_ssl import compose, train
from residual_ssl.data import OUTSIDE, HuggingFaceImages
from residual_ssl.errors import ConfigError, DataError, MissingDataError


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def picture(i: int, size: tuple[int, int] = (6, 8)) -> Image.Image:
    return Image.fromarray(np.full((*size, 3), 10 * i, np.uint8))


def parquet(folder: Path, split: str, labels: list[Any], kind: Any, column: str = "label") -> str:
    cells = []
    for i in range(len(labels)):
        file = io.BytesIO()
        picture(i).save(file, format="PNG")
        cells.append({"bytes": file.getvalue(), "path": None})
    features = datasets.Features({"image": datasets.Image(), column: kind})
    path = str(folder / f"{split}.parquet")
    datasets.Dataset.from_dict({"image": cells, column: labels}, features=features).to_parquet(path)
    return path


NAMES = datasets.ClassLabel(names=["cow", "dog", "cat"])


@pytest.mark.parametrize(
    ("labels", "kind", "expected"),
    [
        ([0, 1, 2, 1], NAMES, (OUTSIDE, 1, 0, 1)),
        ([0, 1, None, 2], datasets.Value("int64"), (0, 1, None, OUTSIDE)),
        (["dog", "cow", None, "cat"], datasets.Value("string"), (1, OUTSIDE, None, 0)),
    ],
)
def test_labels_are_found_by_name_or_are_ids(
    tmp_path: Path, labels: list[Any], kind: Any, expected: tuple[int | None, ...]
) -> None:
    files = {"train": parquet(tmp_path, "train", labels, kind)}
    found = HuggingFaceImages("parquet", ["cat", "dog"], data_files=files)
    assert found.labels == expected
    sample = found[3]
    assert (sample.image.dtype, sample.image.shape, sample.name) == (torch.uint8, (3, 6, 8), "train/000003")
    assert sample.image.unique().tolist() == [30]
    assert sample.label == expected[3]


def test_splits_may_be_parts_or_joined_and_labels_absent(tmp_path: Path) -> None:
    files = {name: parquet(tmp_path, name, [1, 2, 1, 2], NAMES) for name in ("train", "extra")}
    both = HuggingFaceImages("parquet", ["dog", "cat"], "train+extra", data_files=files)
    assert both.labels == (0, 1) * 4
    part = HuggingFaceImages("parquet", ["dog", "cat"], "train[50%:]", data_files=files)
    assert part[0].image.unique().tolist() == [20]
    assert HuggingFaceImages("parquet", ["dog", "cat"], label=None, data_files=files).labels == (None,) * 4


def test_a_folder_for_each_class_is_a_data_set(tmp_path: Path) -> None:
    for name, shade in (("dog", 3), ("cat", 7)):
        for part, count in (("train", 8), ("test", 2)):
            folder = tmp_path / "images" / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                picture(shade + i, (12, 16)).save(folder / f"{i}.png")
    overrides = [
        *("dataset=classified_images", "dataset.path=imagefolder", f"dataset.data_dir={tmp_path / 'images'}"),
        *("dataset.classes=[dog,cat]", "dataset.validation=test", "split=4", "dataset.size=8", "dataset.padding=1"),
        *("model=small_classifier", "algorithm=csl", "steps=2", "labelled_batch=4", "unlabelled_batch=4"),
        *("evaluate_every=2", "evaluation_batch=2", "warmup_steps=0", "device=cpu", f"run_dir={tmp_path / 'run'}"),
    ]
    result = train(compose(overrides))
    assert result.last["accuracy"] in (0, 25, 50, 75, 100)
    assert "recall/dog" in result.last


def test_faults_are_named(tmp_path: Path) -> None:
    files = {"train": parquet(tmp_path, "train", [0, 1], NAMES)}
    with pytest.raises(ConfigError, match=r"classes: horse not among those of dataset 'parquet', split 'train'"):
        HuggingFaceImages("parquet", ["dog", "horse"], data_files=files)
    with pytest.raises(ConfigError, match=r"label: got column 'class' of .* which is not there"):
        HuggingFaceImages("parquet", ["dog"], data_files=files, label="class")
    with pytest.raises(ConfigError, match=r"image: got column 'label' of .* expected a column of images, one of image"):
        HuggingFaceImages("parquet", ["dog"], data_files=files, image="label")
    with pytest.raises(MissingDataError, match=r"dataset 'parquet', split 'train'"):
        HuggingFaceImages("parquet", ["dog"], data_files=str(tmp_path / "none.parquet"))
    with pytest.raises(DataError, match=r"split 'test'"):
        HuggingFaceImages("parquet", ["dog"], "test", data_files=files)


# Number of images, of classes, and side, by the set's own description.
@pytest.mark.parametrize(
    ("files", "count", "classes", "side"),
    [
        ("cifar10_jpeg/test.parquet", 10_000, 10, 32),
        ("mnist_m/test.parquet", 4_000, 10, 32),
        ("pacs/photo.parquet", 1_670, 7, 128),
    ],
)
def test_real_sets_are_read(shared_data: Path, files: str, count: int, classes: int, side: int) -> None:
    path = str(shared_data / files)
    names = datasets.load_dataset("parquet", data_files=path, split="train").features["label"].names
    found = HuggingFaceImages("parquet", names, data_files=path)
    assert len(found) == count
    assert set(Counter(found.labels)) == set(range(classes))
    assert found[0].image.shape == (3, side, side)


def test_cifar_as_jpeg_trains_and_is_evaluated(tmp_path: Path, shared_data: Path) -> None:
    # Its images are not CIFAR-10's: no figure on them compares with a published one.
    folder = shared_data / "cifar10_jpeg"
    files = f"dataset.data_files={{train: {folder / 'train.parquet'}, validation: {folder / 'test.parquet'}}}"
    names = datasets.load_dataset("parquet", data_files=str(folder / "test.parquet"), split="train").features["label"]
    overrides = [
        *("dataset=classified_images", "dataset.path=parquet", files, "split=40"),
        *("dataset.validation='validation[:40]'", "optimizer=sgd"),
        *(f"dataset.classes=[{','.join(names.names)}]", "model.depth=10", "algorithm=csl", "steps=2", "device=cpu"),
        *("labelled_batch=4", "unlabelled_batch=8", "warmup_steps=0", "evaluate_every=2", "evaluation_batch=40"),
    ]
    result = train(compose([*overrides, f"run_dir={tmp_path / 'run'}"]))
    assert 0 <= result.last["accuracy"] <= 100
    assert 0 <= result.training["purity"] <= 1
