"""Recordings from files, and drawn ones."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from residual_ssl.data import ClassifiedSample, class_ids
from residual_ssl.data.splits.lists import ListEntry
from residual_ssl.errors import ConfigError, DataError, MissingDataError

STEPS_A_SECOND = 100


class Recordings:
    """Recordings that lie in memory: float32 ``(N, C, T)``, and a label of each, or None."""

    def __init__(self, signals: Tensor, labels: Sequence[Any], name: str) -> None:
        self.signals, self.labels, self.name = signals, tuple(labels), name

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int, /) -> ClassifiedSample:
        return ClassifiedSample(self.signals[index], self.labels[index], self.entry(index).image)

    def entry(self, index: int, /) -> ListEntry:
        return ListEntry(f"{self.name}/{index:06d}", None)


class SeriesFile(Recordings):
    """Recordings of a file: ``.npz``, ``.parquet`` or ``.csv``, as README.md describes them.

    Args:
        path: the file.
        classes: names of the classes, or of L labels.
        several: whether a recording has any number of labels: ``labels`` of an ``.npz`` file are then ``(N, L)``, 1, 0
            or a number below 0 where unknown.

    Raises:
        MissingDataError, DataError: a file that is not there, is of another kind, or cannot be read.
        ConfigError: classes that the file does not have; several labels in another file than ``.npz``.
    """

    def __init__(self, path: str | Path, classes: Sequence[str], several: bool = False) -> None:
        path = Path(path).expanduser()
        if not path.is_file():
            raise MissingDataError(f"path: {path} is not a file; give a file of recordings")
        reader = _READERS.get(path.suffix.lower())
        if reader is None:
            raise DataError(f"{path}: got a file of another kind, expected one of {', '.join(_READERS)}")
        if several and path.suffix.lower() != ".npz":
            raise ConfigError(f"{path}: several labels a recording are read from .npz alone")
        try:
            signals, raw = reader(path)
            values = torch.from_numpy(np.asarray(signals, dtype=np.float32))
        except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
            raise DataError(f"{path}: the recordings cannot be read, {error}; see the formats in README.md") from error
        values = values.unsqueeze(1) if values.dim() == 2 else values
        if values.dim() != 3 or len(values) != len(raw):
            raise DataError(
                f"{path}: got signals of shape {tuple(values.shape)} and {len(raw)} labels, expected (N, C, T)"
            )
        if several:
            labels: Sequence[Any] = [tuple(None if v < 0 else int(v) for v in row) for row in raw]
            if any(len(row) != len(classes) for row in labels):
                raise ConfigError(
                    f"{path}: has labels of shape {np.shape(raw)}, expected one of each of {list(classes)}"
                )
        else:
            labels = class_ids([None if label == "" else label for label in raw], classes, None, str(path))
        super().__init__(values, labels, path.stem)


def _numpy(path: Path) -> tuple[Any, list[Any]]:
    with np.load(path, allow_pickle=False) as file:
        return file["signals"], file["labels"].tolist()


def _parquet(path: Path) -> tuple[Any, list[Any]]:
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path)
    return np.array(table["signal"].to_pylist()), table["label"].to_pylist()


def _csv(path: Path) -> tuple[Any, list[Any]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file) if row]
    return np.array([[float(cell) for cell in row[1:]] for row in rows]), [row[0] for row in rows]


_READERS = {".npz": _numpy, ".parquet": _parquet, ".csv": _csv}


class DrawnHeartbeats(Recordings):
    """Electrocardiograms that are drawn, not measured: two leads of five seconds at 100 steps a second.

    A beat is a sum of bell curves: P, Q, R, S and T. Its class is normal, fast, irregular (uneven, without P) or wide
    (broad Q, R and S); noise, a wandering baseline, and the size of all waves differ between recordings.

    Args:
        split: ``"train"`` or ``"validation"``; recordings of the two never meet.
        count: number of recordings, ≥ 4; classes take turns.
        several: labels fast, irregular and wide, any of them together, in place of one of four classes.
        seed: of everything.
    """

    def __init__(
        self, split: Literal["train", "validation"], count: int = 400, several: bool = False, seed: int = 0
    ) -> None:
        if split not in ("train", "validation") or not isinstance(count, int) or count < 4:
            raise ConfigError(f"split, count: got {split!r} and {count!r}, expected train or validation, and ≥ 4")
        signals, labels = [], []
        for i in range(count):
            rng = np.random.default_rng([seed, split == "train", i])
            marks = tuple(int(value) for value in rng.random(3) < 0.4) if several else tuple(
                int(i % 4 == kind) for kind in (1, 2, 3)
            )  # fmt: skip
            signals.append(_heartbeats(*marks, rng))
            labels.append(marks if several else i % 4)
        super().__init__(torch.from_numpy(np.stack(signals).astype(np.float32)), labels, split)


def _heartbeats(fast: int, irregular: int, wide: int, rng: np.random.Generator) -> Any:
    time = np.arange(5 * STEPS_A_SECOND) / STEPS_A_SECOND
    period = rng.uniform(0.4, 0.52) if fast else rng.uniform(0.75, 1.0)
    unevenness = 0.25 if irregular else 0.02
    signal, beat = np.zeros((2, len(time))), rng.uniform(0, period)
    breadth = (2.6 if wide else 1.0) * rng.uniform(0.9, 1.1)
    q, r, s = ((0.04 * side * breadth, height, 0.014 * breadth) for side, height in ((-1, -0.15), (0, 1.0), (1, -0.25)))
    waves = [q, r, s, (0.24, 0.3, 0.05), *([] if irregular else [(-0.16, 0.15, 0.025)])]
    leads = rng.uniform(0.6, 1.4, (len(waves), 2))
    while beat < time[-1]:
        for (offset, height, deviation), lead in zip(waves, leads, strict=True):
            bell = height * np.exp(-((time - beat - offset) ** 2) / (2 * deviation**2))
            signal += lead[:, None] * bell
        beat += period * max(0.5, 1 + unevenness * rng.standard_normal())
    drift = 0.2 * np.sin(2 * np.pi * (rng.uniform(0.1, 0.4) * time + rng.random()))
    return signal + drift + rng.normal(0, 0.08, signal.shape)
