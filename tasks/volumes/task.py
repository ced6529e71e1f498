"""Segmentation of volumes as a task: patches to train on, sliding windows to predict, Dice of each volume."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import PIL.Image
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchmetrics import Metric

from residual_ssl.data import DatasetSpec, Sample, SegmentationSource
from residual_ssl.data.samples import Samples
from residual_ssl.errors import DataError
from residual_ssl.losses import labelled_cross_entropy
from residual_ssl.selection import Selection
from residual_ssl.task import Batch
from residual_ssl.tasks.dense import DenseTask, dice
from residual_ssl.tasks.samples import EvaluationSamples, TrainingSamples
from residual_ssl.tasks.segmentation import pictures
from residual_ssl.tasks.segmentation.inference import sliding_window
from residual_ssl.tasks.views import Views
from residual_ssl.tasks.volumes.patches import Patches
from residual_ssl.tasks.volumes.volume_files import VOLUME_SUFFIXES, read_volume

_MOST_SLICES = 16


class VolumeTask(DenseTask):
    """Segmentation of volumes ``(C, D, H, W)``, standardised; targets are class ids ``(D, H, W)``.

    Args:
        spec, source, model, supervised_loss, choose_by, one_logit: as of :class:`~residual_ssl.tasks.dense.DenseTask`.
            The first class is background, which has no part in the Dice of a volume.
        patches: size and weak augmentation of the training samples.
        stride: between the windows of prediction, which are of the size of a patch; None for two thirds of it.
        window_batch: windows that are predicted together.
        channels: C.
        strong, light, labelled: perturbations of the views of those names; None leaves the view plain.

    Metrics: ``dice``, the mean over volumes of each class's Dice where the class occurs or is predicted, then over the
    classes but the first; ``dice/NAME``; ``miou`` over all points of the set.

    Source: the protocol of SSL4MIS (Luo et al.) and BCP, arXiv 2305.00673: patches, and the mean over volumes.
    """

    main_metric = "dice"
    chosen_by = ("dice",)
    input_suffixes = VOLUME_SUFFIXES
    tiled = False  # prediction is by windows already

    def __init__(
        self,
        spec: DatasetSpec,
        source: Callable[..., SegmentationSource],
        model: Callable[..., nn.Module],
        patches: Patches,
        stride: Sequence[int] | None = None,
        window_batch: int = 4,
        channels: int = 1,
        strong: nn.Module | None = None,
        light: nn.Module | None = None,
        labelled: nn.Module | None = None,
        supervised_loss: Callable[[Tensor, Tensor, int], Tensor] = labelled_cross_entropy,
        choose_by: str | None = None,
        one_logit: bool = False,
    ) -> None:
        views = Views(strong=strong, light=light, labelled=labelled)
        sized = partial(model, in_channels=channels)
        super().__init__(spec, source, sized, views, supervised_loss, choose_by, one_logit)
        self.patches = patches
        self.stride = None if stride is None else tuple(stride)
        self.window_batch = window_batch
        self.channels = channels

    def training(self, samples: Samples, seed: int, *, labelled: bool) -> TrainingSamples:
        return TrainingSamples(samples, partial(self._entries, labelled=labelled), seed, labelled=labelled)

    def validation(self) -> Dataset[Batch]:
        return EvaluationSamples(self.source.validation, self._whole)

    def _entries(self, sample: Sample, generator: torch.Generator, labelled: bool) -> Batch:
        patch, mask, valid = self.patches(sample.image, sample.mask, generator)
        if labelled:
            return {"input": patch, "target": _known(sample, mask).where(valid, self.ignore_index)}
        entries = {"input": patch, "valid": valid}
        return entries if mask is None else {**entries, "truth": mask.where(valid, self.ignore_index)}

    def _whole(self, sample: Sample) -> Batch:
        return {"input": self.patches.plain(sample.image), "target": _known(sample, sample.mask)}

    @torch.no_grad()
    def predict(self, model: nn.Module, inputs: Tensor) -> Tensor:
        if all(side <= most for side, most in zip(inputs.shape[2:], self.patches.size, strict=True)):
            return super().predict(model, inputs)
        windows: Any = (self.patches.size, self.stride)
        return sliding_window(
            lambda parts: model(self.view(parts, "plain")), inputs, *windows, window_batch=self.window_batch
        )

    def metric(self) -> Any:
        return _VolumeDice(super().metric(), self.num_classes, self.ignore_index)

    def summary(self, computed: Any) -> dict[str, float]:
        overall, total, volumes = computed
        mean = 100 * total / volumes  # NaN for a class that no volume has
        named = dict(zip(self.class_names[1:], mean[1:].tolist(), strict=True))
        found = {f"dice/{name}": value for name, value in named.items() if not math.isnan(value)}
        return {"dice": mean[1:].nanmean().item(), **super().summary(overall), **found}

    def read(self, path: Path) -> Tensor:
        return self.patches.plain(read_volume(path)[0])

    def example(self) -> Tensor:
        return torch.zeros(self.channels, *self.patches.size)

    def plane(self, points: Tensor) -> Tensor:
        """The slices of ``(…, D, H, W)`` in rows, ``(…, r·H, c·W)``: at most 16 of them, evenly spaced."""
        depth = points.shape[-3]
        chosen = points[..., :: -(-depth // _MOST_SLICES), :, :]
        columns = math.ceil(math.sqrt(chosen.shape[-3]))
        short = -chosen.shape[-3] % columns
        chosen = F.pad(chosen.float(), (0, 0, 0, 0, 0, short)).to(points.dtype)
        return rearrange(chosen, "... (r c) h w -> ... (r h) (c w)", c=columns)

    def display(self, view: Tensor) -> Tensor:
        """Volumes ``(B, C, D, H, W)`` as the slices of their first channel, grey ``(B, 3, H, W)`` in [0, 1]."""
        return (self.plane(view[:, :1]) / 4 + 0.5).clamp(0, 1).expand(-1, 3, -1, -1)

    def draw_labels(self, label: Tensor) -> Tensor:
        """Class ids ``(D, H, W)`` by slices in the colours of the classes, float ``(3, H, W)`` in [0, 1]."""
        return pictures.coloured(self.plane(label) if label.dim() == 3 else label, self.spec)

    def pictures(self, sample: Tensor, label: Tensor, selection: Selection) -> dict[str, PIL.Image.Image]:
        flat = self.plane(label)
        return {
            "label": pictures.label_image(flat, self.spec),
            "overlay": pictures.overlay_image(self.display(sample.unsqueeze(0))[0], flat, self.spec),
            "confidence": pictures.heat_image(self.plane(selection.confidence[0])),
            "trust": pictures.heat_image(self.plane(selection.weight[0])),
        }


def _known(sample: Sample, mask: Tensor | None) -> Tensor:
    if mask is None:
        raise DataError(f"{sample.name}: has no mask, which learning from it, or measuring on it, needs")
    return mask


class _VolumeDice(Metric):  # type: ignore[misc]
    """A metric over all points, with sums of the Dice of each class over volumes and in how many it is defined."""

    full_state_update = False

    def __init__(self, overall: Any, num_classes: int, ignore_index: int) -> None:
        super().__init__()
        self.overall = overall
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        for name in ("total", "volumes"):
            self.add_state(name, torch.zeros(num_classes, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, target: Tensor) -> None:
        self.overall.update(logits, target)
        classes = self.num_classes
        for predicted, truth in zip(logits.argmax(1), target, strict=True):
            known = truth != self.ignore_index
            pairs = torch.bincount(truth[known] * classes + predicted[known], minlength=classes**2)
            found = dice(pairs.reshape(classes, classes))
            self.total += found.nan_to_num(0)
            self.volumes += ~found.isnan()

    def compute(self) -> tuple[Any, Tensor, Tensor]:
        return self.overall.compute(), self.total.cpu(), self.volumes.cpu()

    def reset(self) -> None:
        super().reset()
        self.overall.reset()
