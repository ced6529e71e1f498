"""TorchvisionImages: data sets by name, their splits and labels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from residual_ssl.data import OUTSIDE, TorchvisionImages
from residual_ssl.errors import ConfigError, MissingDataError


class ByFlag:
    """As CIFAR: train or test by a flag, ``targets``, names."""

    classes = ("cat", "cow", "dog")

    def __init__(self, root: str, train: bool = True, download: bool = False) -> None:
        if root == "absent":
            raise RuntimeError("Dataset not found or corrupted")
        self.targets = [0, 2, 1] if train else [2]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return Image.fromarray(np.full((4, 5), 50 * index, np.uint8)), self.targets[index]


class BySplit:
    """As SVHN and STL-10: splits by name, ``labels`` as an array, -1 for none."""

    def __init__(self, root: str, split: str = "train", download: bool = False) -> None:
        parts = {"train": [0, 1], "extra": [1, 1, 0], "unlabeled": [-1, -1]}
        if split not in parts:
            raise ValueError(f"Unknown value '{split}' for argument split")
        self.labels = np.array(parts[split])
        self.shade = len(parts[split])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return Image.fromarray(np.full((4, 5, 3), self.shade, np.uint8)), self.labels[index]


@pytest.fixture(autouse=True)
def _sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets, "ByFlag", ByFlag, raising=False)
    monkeypatch.setattr(torchvision.datasets, "BySplit", BySplit, raising=False)


def test_classes_are_found_by_name_and_grey_becomes_rgb() -> None:
    found = TorchvisionImages("ByFlag", "there", ["dog", "cat"])
    assert found.labels == (1, 0, OUTSIDE)
    sample = found[2]
    assert (sample.image.dtype, sample.image.shape, sample.name) == (torch.uint8, (3, 4, 5), "train/000002")
    assert sample.image.unique().tolist() == [100]
    assert TorchvisionImages("ByFlag", "there", ["dog", "cat"], "test").labels == (0,)


def test_splits_are_joined_and_missing_labels_unknown() -> None:
    joined = TorchvisionImages("BySplit", "there", ["0", "1"], "train+extra")
    assert joined.labels == (0, 1, 1, 1, 0)
    assert [joined[i].image.unique().item() for i in (1, 2)] == [2, 3]
    assert joined.entry(4).image == "train+extra/000004"
    assert TorchvisionImages("BySplit", "there", ["0", "1"], "unlabeled").labels == (None, None)


def test_faults_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"name: got 'CIFAR', expected a data set of torchvision"):
        TorchvisionImages("CIFAR", "there", ["a"])
    with pytest.raises(ConfigError, match=r"split: got 'extra', expected train or test of ByFlag"):
        TorchvisionImages("ByFlag", "there", ["cat"], "extra")
    with pytest.raises(ConfigError, match=r"split: got 'none' for BySplit"):
        TorchvisionImages("BySplit", "there", ["0"], "none")
    with pytest.raises(MissingDataError, match=r"root: ByFlag is not in absent .*set download to true"):
        TorchvisionImages("ByFlag", "absent", ["cat"])
    with pytest.raises(MissingDataError, match=r"root: CIFAR10 is not in"):
        TorchvisionImages("CIFAR10", tmp_path, ["cat"])
    with pytest.raises(ConfigError, match=r"torchvision.s FakeListless does not list its labels"):
        TorchvisionImages("FakeListless", "there", ["0"])


@pytest.fixture(autouse=True)
def _listless(monkeypatch: pytest.MonkeyPatch) -> None:
    class FakeListless:
        def __init__(self, root: str, split: str = "train", download: bool = False) -> None:
            pass

    monkeypatch.setattr(torchvision.datasets, "FakeListless", FakeListless, raising=False)
