"""Rare-class sampling: labelled images are drawn by the classes in them, rare classes first."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from residual_ssl.data import Samples
from residual_ssl.errors import ConfigError, DataError
from residual_ssl.runtime.files import write_text
from residual_ssl.runtime.seeds import mixed_seed
from residual_ssl.task import Batch

_CROPS = 10  # tried before one without the class is taken


class RareClassSampling(Dataset[Batch]):
    """A labelled training set whose samples are drawn anew by ``(index, draw)``: first a class, then an image with it.

    With the share f_c of class c among all labelled points::

        P(c) ∝ exp((1 - f_c) / T)

    and images with at least ``min_points`` points of the class are equally likely. Up to ten crops are tried for one
    that shows half of ``min_points`` of it. The index is not used, and the draw fixes everything.

    Args:
        data: training set by ``(index, draw)``, with ``target`` in its samples; an index stands for the same image of
            ``samples`` in every draw.
        samples: images with masks.
        num_classes: K.
        seed: with the draw, fixes class, image and crop.
        temperature: T > 0; the larger, the more equal.
        min_points: points of a class, at the size of the mask files, from which on an image shows it; ≥ 1.
        counts_file: where the numbers of points are kept from one run to the next; None to count in every run. They
            are counted in all masks when first needed.

    Raises:
        ConfigError: a number out of range; a file of counts of other images.
        DataError: no image has ``min_points`` points of any class.

    Source: DAFormer, arXiv 2111.14887, §3.2, eq. 10 and 11; T = .01, 3,000 points and the ten crops of its code.
    """

    def __init__(
        self,
        data: Dataset[Batch],
        samples: Samples,
        num_classes: int,
        seed: int,
        temperature: float = 0.01,
        min_points: int = 3000,
        counts_file: str | None = None,
    ) -> None:
        if not temperature > 0:
            raise ConfigError(f"temperature: got {temperature}, expected a number > 0")
        if min_points < 1:
            raise ConfigError(f"min_points: got {min_points}, expected at least 1")
        self.data = data
        self.seed = seed
        self.min_points = min_points
        counts = _stored(samples, num_classes, None if counts_file is None else Path(counts_file))
        self._images = [(counts[:, k] >= min_points).nonzero().flatten() for k in range(num_classes)]
        self.probabilities = class_probabilities(counts, temperature, min_points)
        if not self.probabilities.sum() > 0:
            raise DataError(
                f"min_points: no labelled image has {min_points} points of one class, at most {int(counts.max())}; "
                "lower it"
            )

    def __len__(self) -> int:
        return len(self.data)  # type: ignore[arg-type]

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        draw = key[1]
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, 2, draw))
        wanted = int(torch.multinomial(self.probabilities, 1, generator=generator))
        images = self._images[wanted]
        index = int(images[torch.randint(len(images), (), generator=generator)])
        for attempt in range(_CROPS):
            sample = self.data[index, draw if attempt == 0 else mixed_seed(self.seed, draw, attempt)]
            if (sample["target"] == wanted).sum() >= self.min_points / 2:
                break
        return sample


def class_probabilities(counts: Tensor, temperature: float, min_points: int = 1) -> Tensor:
    """Probability of drawing each class: ``exp((1 - f_c) / T)``, normalised; 0 for a class that no image shows.

    Args:
        counts: points of each class in each image, integer ``(N, K)``.
        temperature: T.
        min_points: from which on an image shows a class.

    Returns:
        float64 ``(K,)``.

    Example:
        >>> class_probabilities(torch.tensor([[90, 10, 0]]), temperature=1.0)
        tensor([0.3100, 0.6900, 0.0000], dtype=torch.float64)
    """
    share = counts.sum(0).double() / counts.sum().clamp(min=1)
    shown = (counts >= min_points).any(0)
    # A softmax over no class is not a number.
    return ((1 - share) / temperature).masked_fill(~shown, -torch.inf).softmax(0).nan_to_num(0.0)


def count_points(samples: Samples, num_classes: int) -> Tensor:
    """Points of each class in each mask, int64 ``(N, K)``; images are not read where masks can be read alone.

    Raises:
        DataError: a sample without a mask.
    """
    mask_of: Callable[[int], Tensor | None] = getattr(samples, "mask", lambda index: samples[index].mask)
    rows = []
    for index in tqdm(range(len(samples)), desc="points of each class", disable=len(samples) < 1000):
        mask = mask_of(index)
        if mask is None:
            raise DataError(f"{samples[index].name}: is in the labelled set and has no mask; give one")
        known = (mask >= 0) & (mask < num_classes)
        rows.append(torch.bincount(mask[known], minlength=num_classes))
    return torch.stack(rows)


def _stored(samples: Samples, num_classes: int, path: Path | None) -> Tensor:
    if path is not None and path.is_file():
        try:
            stored = torch.tensor(json.loads(path.read_text()), dtype=torch.int64)
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(f"counts_file: {path} cannot be read, {error}; remove it, or name another") from error
        if stored.shape != (len(samples), num_classes):
            raise ConfigError(
                f"counts_file: {path} holds counts of shape {tuple(stored.shape)}, expected {len(samples)} images and "
                f"{num_classes} classes; remove it, or name another"
            )
        return stored
    counts = count_points(samples, num_classes)
    if path is not None:
        write_text(
            path, json.dumps(counts.tolist()), "counts_file"
        )  # every process counts, and may be the one to write
    return counts
