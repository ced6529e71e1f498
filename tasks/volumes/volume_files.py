"""Volumes in files: HDF5, NIfTI and NumPy, in the layouts of ACDC and others."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from residual_ssl.data import DatasetSpec, Sample
from residual_ssl.data.splits.lists import ListEntry, check_disjoint, draw_labelled, few, read_list
from residual_ssl.errors import ConfigError, DataError, MissingDataError

VOLUME_SUFFIXES = (".h5", ".nii", ".gz", ".npz", ".npy")


class VolumeFiles:
    """Files of volumes as a :class:`~residual_ssl.data.SegmentationSource`; nothing but names is read at construction.

    HDF5 (``.h5``) and ``.npz`` files hold ``image`` and, with labels, ``label``, each ``(D, H, W)``, or ``(C, D, H,
    W)`` of an image, as SSL4MIS stores ACDC; NIfTI (``.nii``, ``.nii.gz``) and ``.npy`` files hold an image alone, and
    their masks lie in files of their own. HDF5 needs h5py and NIfTI nibabel: ``pip install "residual-ssl[volumes]"``.

    Args:
        root: the dataset's folder.
        spec: classes and the meaning of the masks' ids.
        train, validation: patterns below ``root`` with ``*`` and ``**``, as ``"training/*/*_frame[0-9][0-9].nii.gz"``.
            None for no validation volumes.
        labelled: how many training volumes are labelled, drawn by the seed; ``"all"``; or a split list of them.
        unlabelled: a split list of the unlabelled ones; None for all others.
        mask_paths: ``{part of the path of a volume: what stands there in that of its mask}``, as ``{".nii.gz":
            "_gt.nii.gz"}``; None where a file holds both.
        unlabelled_truth: load the masks of unlabelled volumes, *for diagnostics only*.
        seed: of the draw.

    Lists are looked for below ``root``, then in the working directory; they name paths below the root, or file names
    without their endings.

    Raises:
        MissingDataError: no such folder or list, no file of a pattern, a labelled volume without a mask file.
        DataError: a list entry without a file, a volume in two subsets; on reading, damaged files, masks of another
            size, ids outside the specification.
        ConfigError: more labelled volumes than there are.
    """

    def __init__(
        self,
        root: str | Path,
        spec: DatasetSpec,
        train: str,
        validation: str | None,
        labelled: int | str | Path,
        unlabelled: str | Path | None = None,
        mask_paths: Mapping[str, str] | None = None,
        unlabelled_truth: bool = False,
        seed: int = 0,
    ) -> None:
        self.spec = spec
        self._root = Path(os.path.abspath(Path(root).expanduser()))
        if not self._root.is_dir():
            raise MissingDataError(f"root: {self._root} is not a folder; give the dataset's folder")
        there = self._found(train)
        held_out = [] if validation is None else self._found(validation)
        if labelled == "all":
            chosen = there
        elif isinstance(labelled, int):
            chosen = draw_labelled(there, labelled, seed)
        else:
            chosen = self._listed(labelled, there)
        rest = [name for name in there if name not in set(chosen)]
        rest = rest if unlabelled is None else self._listed(unlabelled, there)
        subsets = [("labelled", chosen), ("unlabelled", rest), ("validation", held_out)]
        check_disjoint(subsets, fix="give each patterns or lists of its own")
        shared = (self._root, spec, mask_paths or {})
        self.labelled = _Volumes(sorted(chosen), *shared)
        self.unlabelled = _Volumes(rest, *shared, unlabelled_truth)
        self.validation = _Volumes(held_out, *shared)

    def _found(self, pattern: str) -> list[str]:
        files = sorted(path for path in self._root.glob(pattern) if path.is_file())
        if not files:
            raise MissingDataError(f"{pattern!r} matches no file below {self._root}; give another pattern")
        return [path.relative_to(self._root).as_posix() for path in files]

    def _listed(self, path: str | Path, there: Sequence[str]) -> list[str]:
        found = next((place for place in (self._root / path, Path(path)) if place.is_file()), None)
        if found is None:
            raise MissingDataError(f"{path}: no such split list, neither in {self._root} nor in {Path.cwd()}")
        by_name = {_stem(name): name for name in there} | {name: name for name in there}
        names = [entry.image for entry in read_list(found)]
        lost = [name for name in names if name not in by_name]
        if lost:
            raise DataError(f"{found}: no such volumes: {few(lost)}; they are named {few(list(by_name), 2)}")
        return [by_name[name] for name in names]


class _Volumes:
    """Volumes by position, read when asked for."""

    def __init__(
        self, names: Sequence[str], root: Path, spec: DatasetSpec, mask_paths: Mapping[str, str], masks: bool = True
    ) -> None:
        self._names = names
        self._root = root
        self._spec = spec
        self._with_masks = masks
        self._masks = [_replaced(name, mask_paths) for name in names] if masks else [None] * len(names)
        bare = [name for name in self._masks if name is not None and not (root / name).is_file()]
        if bare:
            raise MissingDataError(f"{len(bare)} of {len(names)} volumes have no mask file: {few(bare)}")

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int, /) -> Sample:
        name = self._names[index]
        image, mask = read_volume(self._root / name)
        own = self._masks[index]
        if own is not None and own != name:
            mask = read_volume(self._root / own)[0][0]
        if mask is None or not self._with_masks:
            return Sample(image, None, name)
        if mask.shape != image.shape[1:]:
            raise DataError(f"{name}: is {tuple(image.shape[1:])} and its mask {tuple(mask.shape)}; expected one size")
        flat = mask.round().long().flatten(0, 1)  # the specification reads ids of images
        return Sample(image, self._spec.encode(flat, name).view(mask.shape), name)

    def entry(self, index: int, /) -> ListEntry:
        return ListEntry(self._names[index], None)


def read_volume(path: Path) -> tuple[Tensor, Tensor | None]:
    """A volume, float32 ``(C, D, H, W)``, and the mask ``(D, H, W)`` that its file holds, or None.

    Raises:
        MissingDataError: no such file.
        DataError: a file that cannot be read, of another kind, or of other dimensions.
        ConfigError: HDF5 or NIfTI without the package that reads it.
    """
    if not path.is_file():
        raise MissingDataError(f"{path}: no such file")
    name = path.name.lower()
    reader = next((reader for ending, reader in _READERS.items() if name.endswith(ending)), None)
    if reader is None:
        raise DataError(f"{path}: got a file of another kind, expected one of {', '.join(_READERS)}")
    try:
        image, mask = reader(path)
        pixels = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))
        label = None if mask is None else torch.from_numpy(np.ascontiguousarray(mask, dtype=np.float32))
    except ImportError as error:
        raise ConfigError(
            f'{path}: reading it needs {error.name}, which is not installed; pip install "residual-ssl[volumes]"'
        ) from error
    except Exception as error:  # each format has its own kinds
        said = str(error) or type(error).__name__
        raise DataError(f"{path}: the volume cannot be read, {said}; restore or remove the file") from error
    pixels = pixels.unsqueeze(0) if pixels.dim() == 3 else pixels
    if pixels.dim() != 4 or not pixels.numel():
        raise DataError(f"{path}: got a volume of shape {tuple(pixels.shape)}, expected (D, H, W) or (C, D, H, W)")
    if not pixels.isfinite().all():
        raise DataError(f"{path}: the volume has values that are no numbers; repair or remove the file")
    return pixels, label


def _hdf5(path: Path) -> tuple[Any, Any]:
    import h5py

    with h5py.File(path, "r") as file:
        if "image" not in file:
            raise DataError(f"has no data set image, but {few(sorted(file))}")
        return file["image"][()], file["label"][()] if "label" in file else None


def _nifti(path: Path) -> tuple[Any, Any]:
    import nibabel

    values = np.asarray(nibabel.load(path).dataobj, dtype=np.float32)
    return values.transpose(*range(3, values.ndim), 2, 1, 0), None  # stored as (X, Y, Z) or (X, Y, Z, C)


def _numpy(path: Path) -> tuple[Any, Any]:
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return loaded, None
    with loaded:
        return loaded["image"], loaded.get("label")


_READERS = {".h5": _hdf5, ".nii": _nifti, ".nii.gz": _nifti, ".npz": _numpy, ".npy": _numpy}


def _replaced(name: str, parts: Mapping[str, str]) -> str | None:
    found = name
    for before, after in parts.items():
        found = found.replace(before, after)
    return found if parts else None


def _stem(name: str) -> str:
    return Path(name).name.removesuffix(".gz").rpartition(".")[0]
