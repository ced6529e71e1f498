"""Data sets of tensors for training and evaluation, made of a source's images and masks."""

from __future__ import annotations

import torch
from torch.utils.data import Dataset

from residual_ssl.data import Samples
from residual_ssl.errors import DataError
from residual_ssl.runtime.seeds import mixed_seed
from residual_ssl.task import Batch
from residual_ssl.tasks.segmentation.geometry import WeakGeometry
from residual_ssl.tasks.segmentation.inference import centered
from residual_ssl.tasks.substitutes import readable_sample


class AugmentedSamples(Dataset[Batch]):
    """Training samples under weak geometry by ``(index, draw)``; for the entries see :class:`residual_ssl.Task`.

    Args:
        samples: images, with masks where labels are known.
        geometry: resize, crop, flip.
        ignore_index: target id where nothing is known.
        seed: with the draw, fixes the augmentation.
        labelled: True: ``input`` and ``target``. False: ``input``, ``valid`` and, where the source has masks for its
            unlabelled images (diagnostics only), ``truth``.
    """

    def __init__(
        self, samples: Samples, geometry: WeakGeometry, ignore_index: int, seed: int, *, labelled: bool
    ) -> None:
        self.samples = samples
        self.geometry = geometry
        self.ignore_index = ignore_index
        self.seed = seed
        self.labelled = labelled

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        index, draw = key
        sample = self.samples[index] if self.labelled else readable_sample(self.samples, index, draw, self.seed)
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, int(self.labelled), draw))
        image, mask, valid = self.geometry(sample.image, sample.mask, generator)
        if not self.labelled:
            entries = {"input": image, "valid": valid}
            return entries if mask is None else {**entries, "truth": mask.where(valid, self.ignore_index)}
        if mask is None:
            raise DataError(
                f"{sample.name}: is in the labelled set and has no mask; give one, or move it to the unlabelled"
            )
        return {"input": image, "target": mask.where(valid, self.ignore_index)}


class PlainSamples(Dataset[Batch]):
    """Evaluation samples: ``input`` float32 ``(3, H, W)`` in [0, 1] and ``target`` ``(H, W)``.

    Args:
        samples: images with masks.
        crop: (height, width) of their centre, the only part that is judged then; None for all of them.
    """

    def __init__(self, samples: Samples, crop: tuple[int, int] | None = None) -> None:
        self.samples = samples
        self.crop = crop

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Batch:
        sample = self.samples[index]
        if sample.mask is None:
            raise DataError(f"{sample.name}: is in the validation set and has no mask; evaluation needs one")
        image, target = sample.image, sample.mask
        if self.crop is not None:
            image, target = centered(image, self.crop), centered(target, self.crop)
        return {"input": image.float() / 255, "target": target}
