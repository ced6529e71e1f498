"""One sample of a data set, looked at by itself: its files, its content, its labels."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from residual_ssl.commands.doctor.findings import Finding
from residual_ssl.data.images import exif_orientation
from residual_ssl.data.samples import check_same_size, check_upright, files_of
from residual_ssl.errors import DataError, MissingDataError, ResidualSSLError


@dataclass
class Examined:
    """A sample as it was found.

    Attributes:
        subset, name: which one.
        findings: what is wrong with it alone.
        content: digest of its pixels or features; empty where they cannot be read.
        labels: digest of its labels; empty where it has none.
        size: (height, width) of an image; None of other samples.
        counts: labelled points of each class.
        ignored: points without a label.
        is_file: whether it is a file of its own.
    """

    subset: str
    name: str
    findings: list[Finding] = field(default_factory=list)
    content: str = ""
    labels: str = ""
    size: tuple[int, int] | None = None
    counts: list[int] = field(default_factory=list)
    ignored: int = 0
    is_file: bool = False


class ExaminedSamples(Dataset[Examined]):
    """The samples of all subsets, each read once and looked at, for a loader with several processes.

    Args:
        subsets: samples of a source by name.
        num_classes: K.
        root: folder that files should lie in, None where there are no files.
    """

    def __init__(self, subsets: dict[str, Any], num_classes: int, root: Path | None) -> None:
        self.places = [(name, index) for name, samples in subsets.items() for index in range(len(samples))]
        self.subsets = subsets
        self.num_classes = num_classes
        self.root = None if root is None else root.resolve()

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Examined:
        subset, position = self.places[index]
        samples = self.subsets[subset]
        found = Examined(subset, _name(samples, position))
        image, mask = files_of(samples, position)
        found.is_file = image is not None
        files = [self._file(found, path) for path in (image, mask) if path is not None]
        if not all(files):
            return found
        try:
            pixels, labels = self._read(found, samples, position, None if mask is None else image)
        except (DataError, MissingDataError) as error:
            _add(found, getattr(error, "kind", "") or "unreadable", str(error))
            return found
        if pixels is not None:
            self._content(found, pixels)
        if labels is not None:
            self._labels(found, labels)
        return found

    def _file(self, found: Examined, path: Path) -> bool:
        """Look at a file from outside; False where it cannot be opened, or would never end."""
        try:
            status = os.stat(path)
        except OSError as error:
            kind = "permission" if isinstance(error, PermissionError) else "missing"
            _add(found, kind, f"{path}: {error.strerror}")
            return False
        if not stat.S_ISREG(status.st_mode):
            _add(found, "no file", f"{path}: is no file")
        elif not status.st_size:
            _add(found, "empty", f"{path}: has 0 bytes; restore or remove it")
        elif self.root is not None and not path.resolve().is_relative_to(self.root):
            _add(found, "outside", f"{path}: is a link to {path.resolve()}, outside {self.root}")
            return True
        else:
            return True
        return False

    def _read(
        self, found: Examined, samples: Any, position: int, image: Path | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Pixels and labels of a sample; what one of its two files says does not hide what the other does."""
        if image is None:
            sample = samples[position]
            label = getattr(sample, "mask", getattr(sample, "label", None))
            return sample.image, label if label is None or isinstance(label, Tensor) else torch.tensor(label)
        pixels = _tried(found, lambda: samples.image(position))
        mask = _tried(found, lambda: samples.mask(position))
        if pixels is not None and mask is not None:
            named = str(image), str(files_of(samples, position)[1])
            check_same_size(pixels, mask, *named)
            check_upright(mask, exif_orientation(image), *named)
        return pixels, mask

    def _content(self, found: Examined, pixels: Tensor) -> None:
        found.content = _digest(pixels)
        if pixels.dim() == 3:  # and no features
            found.size = (pixels.shape[1], pixels.shape[2])
            if bool((pixels == pixels[:, :1, :1]).all()) and pixels[0].numel() > 1:
                _add(found, "one colour", f"{found.name}: all {pixels[0].numel()} pixels are the same")

    def _labels(self, found: Examined, labels: Tensor) -> None:
        known = labels[(labels >= 0) & (labels < self.num_classes)]
        found.labels, found.ignored = _digest(labels), labels.numel() - known.numel()
        found.counts = torch.bincount(known.flatten().long(), minlength=self.num_classes).tolist()
        if not known.numel() and found.subset != "unlabelled":
            _add(found, "no label", f"{found.name}: has no labelled point; is the id of its classes ignore_index?")


def as_they_are(samples: list[Examined]) -> list[Examined]:
    """Collate nothing."""
    return samples


def _name(samples: Any, position: int) -> str:
    try:
        return str(samples.entry(position).image if hasattr(samples, "entry") else samples[position].name)
    except ResidualSSLError:
        return f"sample {position}"


def _add(found: Examined, kind: str, text: str) -> None:
    found.findings.append(Finding(kind, found.subset, found.name, text))


def _tried(found: Examined, read: Callable[[], Tensor | None]) -> Tensor | None:
    """What is read; None, and a finding, where that fails."""
    try:
        return read()
    except (DataError, MissingDataError) as error:
        _add(found, getattr(error, "kind", "") or "unreadable", str(error))
        return None


def _digest(values: Tensor) -> str:
    content = f"{values.dtype}{tuple(values.shape)}".encode() + values.contiguous().numpy().tobytes()
    return hashlib.blake2b(content, digest_size=16).hexdigest()
