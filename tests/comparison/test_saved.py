"""Arrays in files of every format, a part at a time."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from residual_ssl.commands.comparison.saved import SavedArray
from residual_ssl.errors import DataError, MissingDataError

Array = np.ndarray[Any, Any]


def save(path: Path, array: Array, name: str = "logits") -> Path:
    """Write an array in the format that the suffix says."""
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".npz":
        np.savez(path, **{name: array})
    elif path.suffix == ".pt":
        torch.save(torch.from_numpy(array), path)
    else:
        save_file({name: torch.from_numpy(array)}, path)
    return path


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pt", ".safetensors"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "int32", "bool"])
def test_slices_are_what_was_saved(suffix: str, dtype: str, tmp_path: Path) -> None:
    array = (np.random.default_rng(0).random((7, 3, 4)) * 5).astype(dtype)
    saved = SavedArray(save(tmp_path / f"a{suffix}", array), "logits")
    assert saved.shape == (7, 3, 4)
    part = saved[slice(2, 5)]
    expected = torch.from_numpy(array[2:5])
    assert torch.equal(part, expected.long() if dtype in ("uint8", "int32") else expected)
    assert part.dtype == (torch.int64 if dtype in ("uint8", "int32") else expected.dtype)
    assert len(saved[slice(6, 20)]) == 1


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_bfloat16_is_kept(suffix: str, tmp_path: Path) -> None:
    tensor, path = torch.randn(3, 2).bfloat16(), tmp_path / f"a{suffix}"
    if suffix == ".pt":
        torch.save({"logits": tensor, "other": tensor}, path)
    else:
        save_file({"logits": tensor, "other": tensor + 1}, path)
    assert torch.equal(SavedArray(path, "logits")[slice(0, 3)], tensor)


def test_slices_of_an_npy_file_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npy", np.zeros((3, 2)))
    saved = SavedArray(path, "logits")
    np.load(path, mmap_mode="r+")[1] = 7
    assert saved[slice(0, 3)].tolist() == [[0, 0], [7, 7], [0, 0]]


def test_another_byte_order_is_understood(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([1.5, -2.0], dtype=">f4"))
    assert SavedArray(tmp_path / "a.npy", "logits")[slice(0, 2)].tolist() == [1.5, -2.0]


def test_a_file_that_is_absent_or_of_another_kind_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"labels: got .*nothing.npy, no such file"):
        SavedArray(tmp_path / "nothing.npy", "labels")
    (tmp_path / "a.csv").write_text("1,2")
    with pytest.raises(
        DataError, match=r"labels: got .*a.csv, expected a file ending in .npy, .npz, .pt, .safetensors"
    ):
        SavedArray(tmp_path / "a.csv", "labels")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pt", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"no such format at all"])
def test_a_broken_file_is_named(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"logits: .*broken\{suffix}"):
        SavedArray(path, "logits")


def test_of_several_arrays_one_must_have_the_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros(2), y=np.ones(2))
    with pytest.raises(DataError, match=r"logits: .*a.npz holds x, y; expected one array, or one named 'logits'"):
        SavedArray(tmp_path / "a.npz", "logits")


def test_labelled_logits_are_logits_to_their_file(tmp_path: Path) -> None:
    torch.save({"logits": torch.ones(2), "labels": torch.zeros(2)}, tmp_path / "a.pt")
    assert SavedArray(tmp_path / "a.pt", "labelled_logits")[slice(0, 2)].tolist() == [1, 1]


def test_objects_are_not_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object))
    torch.save({"logits": Path("x")}, tmp_path / "a.pt")
    np.save(tmp_path / "text.npy", np.array(["a"]))
    for name in ("a.npy", "a.pt", "text.npy"):
        with pytest.raises(DataError, match=f"logits: .*{name}"):
            SavedArray(tmp_path / name, "logits")
