"""Data sets of tensors for training and evaluation, made of the samples of a source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch.utils.data import Dataset

from residual_ssl.runtime.seeds import mixed_seed
from residual_ssl.task import Batch


class Samples(Protocol):
    """What a source holds, by position."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class TrainingSamples(Dataset[Batch]):
    """Training samples under weak augmentation, by ``(index, draw)``; see :class:`residual_ssl.Task`.

    Args:
        samples: of a source.
        entries: ``entries(sample, generator)`` gives ``input`` and, with labels, ``target``, or without them ``valid``
            and ``truth`` as far as there are any; the generator, of the augmentation, follows from seed and draw.
        seed: with the draw, fixes the augmentation.
        labelled: of which of the two sets; they are augmented independently.
    """

    def __init__(
        self, samples: Samples, entries: Callable[[Any, torch.Generator], Batch], seed: int, *, labelled: bool
    ) -> None:
        self.samples = samples
        self.entries = entries
        self.seed = seed
        self.labelled = labelled

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        index, draw = key
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, int(self.labelled), draw))
        return self.entries(self.samples[index], generator)


class EvaluationSamples(Dataset[Batch]):
    """Samples of the validation set, by index.

    Args:
        samples: of a source.
        entries: ``entries(sample)`` gives ``input`` and ``target``.
    """

    def __init__(self, samples: Samples, entries: Callable[[Any], Batch]) -> None:
        self.samples = samples
        self.entries = entries

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Batch:
        return self.entries(self.samples[index])
