"""Arrays in files, read a part at a time where the format allows it."""

from __future__ import annotations

import resource
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from residual_ssl.errors import DataError, MissingDataError

#: Where an array may come from.
Source = str | Path | Tensor | np.ndarray[Any, Any]

_SHARE_OF_MEMORY = 0.5

SUFFIXES = (".npy", ".npz", ".pt", ".safetensors")


class SavedArray:
    """An array of which slices along the first dimension become tensors: integers as int64, the rest as stored.

    Args:
        source: a ``.npy``, ``.npz``, ``.pt`` or ``.safetensors`` file, or a tensor or numpy array. Of files other than
            ``.npz`` only the slices asked for are read.
        name: what the array is to the caller, for messages. A file of several arrays must have one of that name, where
            ``"labelled_logits"`` are ``"logits"`` to their file.

    Raises:
        MissingDataError: no such file.
        DataError: another kind of file, one that cannot be read, or one without that array.

    Example:
        >>> SavedArray(np.zeros((5, 3), np.uint8), "labels")[1:3].dtype
        torch.int64
    """

    def __init__(self, source: Source, name: str) -> None:
        self.name = name
        self.place = f" in {source}" if isinstance(source, str | Path) else ""
        opened: Any = _open(Path(source), name) if isinstance(source, str | Path) else source
        self._source = opened
        shape = opened.get_shape() if hasattr(opened, "get_shape") else opened.shape  # safetensors', or an array's
        self.shape: tuple[int, ...] = tuple(shape)
        if isinstance(self._source, np.ndarray) and self._source.dtype.kind not in "fiub":
            raise DataError(f"{name}: got numpy dtype {self._source.dtype}{self.place}, expected numbers")

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: slice) -> Tensor:
        values: Any = self._source[part]
        if isinstance(values, np.ndarray):
            kind = {"i": np.dtype(np.int64), "u": np.dtype(np.int64)}.get(values.dtype.kind)
            # A copy in the machine's byte order: a tensor must not share memory with a file opened for reading.
            values = torch.from_numpy(values.astype(kind or values.dtype.newbyteorder("="), copy=True))
        whole = not (values.is_floating_point() or values.dtype == torch.bool)
        tensor: Tensor = values.long() if whole else values
        return tensor


def _open(path: Path, name: str) -> Any:
    if not path.is_file():
        raise MissingDataError(f"{name}: got {path}, no such file")
    if path.suffix not in SUFFIXES:
        raise DataError(f"{name}: got {path}, expected a file ending in {', '.join(SUFFIXES)}")
    try:
        if path.suffix == ".npy":
            return np.load(path, mmap_mode="r", allow_pickle=False)
        if path.suffix == ".npz":
            archive = np.load(path, allow_pickle=False)
            key = _key(list(archive), name, path)
            _check_unpacked_size(path, key, name)
            return archive[key]
        if path.suffix == ".safetensors":
            tensors: Any = safe_open(path, framework="pt")
            return tensors.get_slice(_key(list(tensors.keys()), name, path))
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except DataError:
        raise
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, SafetensorError, KeyError) as error:
        raise DataError(f"{name}: {path} cannot be read as {path.suffix}: {error}") from error
    except Exception as error:  # weights_only refuses with an exception of pickle's
        raise DataError(f"{name}: {path} holds more than tensors; save the tensor alone") from error
    if isinstance(content, dict):
        content = content[_key(list(content), name, path)]
    if not isinstance(content, Tensor):
        raise DataError(f"{name}: {path} holds a {type(content).__name__}, expected a tensor, or tensors by name")
    return content


def _check_unpacked_size(path: Path, key: str, name: str) -> None:
    """Refuse an array that unpacks to more than a part of the memory that is free: it would be unpacked whole."""
    with zipfile.ZipFile(path) as packed:
        size = packed.getinfo(f"{key}.npy").file_size
    available = psutil.virtual_memory().available
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        available = min(available, max(0, limit - psutil.Process().memory_info().vms))
    if size > _SHARE_OF_MEMORY * available:
        raise DataError(
            f"{name}: {path} unpacks to {size / 2**30:.1f} GiB and {available / 2**30:.1f} GiB of memory are free; "
            "save it as .npy or .safetensors, of which parts are read"
        )


def _key(names: list[Any], wanted: str, path: Path) -> Any:
    key = wanted.removeprefix("labelled_")
    if key in names:
        return key
    if len(names) == 1:
        return names[0]
    found = ", ".join(map(str, names)) or "nothing"
    raise DataError(f"{wanted}: {path} holds {found}; expected one array, or one named {key!r}")
