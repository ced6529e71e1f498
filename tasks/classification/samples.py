"""Data sets of tensors for training and evaluation, made of a source's images and classes."""

from __future__ import annotations

import torch
from torch.utils.data import Dataset

from residual_ssl.data import ClassifiedSamples
from residual_ssl.errors import DataError
from residual_ssl.runtime.seeds import mixed_seed
from residual_ssl.task import Batch
from residual_ssl.tasks.classification.geometry import FlipAndCrop
from residual_ssl.tasks.substitutes import readable_sample


class AugmentedImages(Dataset[Batch]):
    """Training samples under weak augmentation by ``(index, draw)``; for the entries see :class:`residual_ssl.Task`.

    Args:
        samples: images, with classes where they are known.
        weak: the augmentation.
        ignore_index: target id where nothing is known.
        seed: with the draw, fixes the augmentation.
        labelled: True: ``input`` and ``target``. False: ``input`` and, where the class of some sample is known
            (diagnostics only), ``truth``.
    """

    def __init__(
        self, samples: ClassifiedSamples, weak: FlipAndCrop, ignore_index: int, seed: int, *, labelled: bool
    ) -> None:
        self.samples = samples
        self.weak = weak
        self.ignore_index = ignore_index
        self.seed = seed
        self.labelled = labelled
        self._known = labelled or any(label is not None for label in samples.labels)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        index, draw = key
        sample = self.samples[index] if self.labelled else readable_sample(self.samples, index, draw, self.seed)
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, int(self.labelled), draw))
        entries = {"input": self.weak(sample.image, generator)}
        if self.labelled:
            return {**entries, "target": _target(sample.label, sample.name, "labelled")}
        if not self._known:
            return entries
        return {**entries, "truth": torch.tensor(self.ignore_index if sample.label is None else sample.label)}


class PlainImages(Dataset[Batch]):
    """Evaluation samples: ``input`` float32 ``(C, H, W)`` in [0, 1] and ``target`` ``()``."""

    def __init__(self, samples: ClassifiedSamples, weak: FlipAndCrop) -> None:
        self.samples = samples
        self.weak = weak

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Batch:
        sample = self.samples[index]
        return {"input": self.weak.plain(sample.image), "target": _target(sample.label, sample.name, "validation")}


def _target(label: int | None, name: str, subset: str) -> torch.Tensor:
    if label is None or label < 0:
        raise DataError(f"{name}: is in the {subset} set and is of no known class; give one, or leave it out")
    return torch.tensor(label)
