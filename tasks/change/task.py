"""Change detection as a task: segmentation of pairs of images by what differs between their features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import PIL.Image
import torch
from torch import Tensor, nn

from residual_ssl.data import DatasetSpec, SegmentationSource
from residual_ssl.diagnostics.unsupervised import criteria_apart
from residual_ssl.errors import ConfigError
from residual_ssl.losses import labelled_cross_entropy
from residual_ssl.models import EncoderDecoder, FeatureDifference, adapt_channels
from residual_ssl.models.wrapped.input_channels import RGB
from residual_ssl.selection import Selection
from residual_ssl.tasks.change.pair_folders import read_pair
from residual_ssl.tasks.dense import dice
from residual_ssl.tasks.normalisation import IMAGENET_MEAN, IMAGENET_STD
from residual_ssl.tasks.segmentation import Inference, SegmentationTask, WeakGeometry

_CHANGED = 1


class ChangeTask(SegmentationTask):
    """Where two images of a place differ; inputs are pairs in [0, 1], ``(6, H, W)``: A, then B.

    Targets are class ids of every pixel, 0 unchanged and 1 changed. An encoder and decoder of images is put into
    :class:`~residual_ssl.models.FeatureDifference`; another network is given the six channels. Views change the colours
    of each image of a pair by itself, CutMix and TrustedMask cut both alike.

    Args:
        spec: two classes, of which the second is changed.
        second: ``{part of the path of A: what stands there in that of B}``, for prediction on files: given an A, its B
            is found.
        source, model, geometry, strong, light, labelled, inference, mean, std, supervised_loss, choose_by, one_logit:
            as of :class:`~residual_ssl.tasks.segmentation.SegmentationTask`; perturbations, mean and deviation are of
            one image.

    Metrics: ``iou`` and ``f1`` of the changed class over all pixels of the set, beside those of segmentation.

    Raises:
        ConfigError: other than two classes; another metric to choose by.

    Source: the change detection of UniMatch, arXiv 2208.09910, §4.5, and UniMatch V2, arXiv 2410.10777.
    """

    main_metric = "iou"
    chosen_by = ("iou", "f1", "miou", "pixel_accuracy")

    def __init__(
        self,
        spec: DatasetSpec,
        source: Callable[..., SegmentationSource],
        model: Callable[..., nn.Module],
        geometry: WeakGeometry,
        second: Mapping[str, str],
        strong: nn.Module | None = None,
        light: nn.Module | None = None,
        labelled: nn.Module | None = None,
        inference: Inference | None = None,
        mean: tuple[float, float, float] = IMAGENET_MEAN,
        std: tuple[float, float, float] = IMAGENET_STD,
        supervised_loss: Callable[[Tensor, Tensor, int], Tensor] = labelled_cross_entropy,
        choose_by: str | None = None,
        one_logit: bool = False,
    ) -> None:
        if spec.num_classes != 2:
            raise ConfigError(
                f"spec.classes: got {len(spec.classes)}, expected two: what is unchanged, what is changed"
            )
        views = [None if view is None else EachImage(view) for view in (strong, light, labelled)]
        super().__init__(
            spec,
            source,
            model,
            geometry,
            strong=views[0],
            light=views[1],
            labelled=views[2],
            inference=inference,
            mean=(*mean, *mean),
            std=(*std, *std),
            supervised_loss=supervised_loss,
            choose_by=choose_by,
            one_logit=one_logit,
        )
        self.second = second

    def network_example(self) -> Tensor:
        return self.example()[:RGB]

    def around(self, network: nn.Module) -> nn.Module:
        if isinstance(network, EncoderDecoder):
            return FeatureDifference(network)
        adapt_channels(network, 2 * RGB)  # without features to compare it sees both images on each other
        return network

    def read(self, path: Path) -> Tensor:
        return read_pair(path, self.second).float() / 255

    def example(self) -> Tensor:
        return torch.full((6, *self.geometry.crop), 0.5)

    def display(self, view: Tensor) -> Tensor:
        """Pairs ``(B, 6, H, W)`` side by side, ``(B, 3, H, 2W)`` in [0, 1]."""
        return torch.cat(self.normalisation.undone(view).chunk(2, dim=1), dim=3)

    def pictures(self, sample: Tensor, label: Tensor, selection: Selection) -> dict[str, PIL.Image.Image]:
        return super().pictures(sample[3:], label, selection)  # over the later image

    def summary(self, computed: Any) -> dict[str, float]:
        found = super().summary(computed)
        f1 = dice(criteria_apart(computed)[0])[_CHANGED].item()
        return {"iou": found.get(f"iou/{self.class_names[_CHANGED]}", float("nan")), "f1": 100 * f1, **found}


class EachImage(nn.Module):
    """A perturbation of images ``(B, 3, H, W)`` for pairs ``(B, 6, H, W)``: of each image by itself.

    Example:
        >>> EachImage(torch.nn.Dropout(0.5))(torch.ones(2, 6, 4, 4)).shape
        torch.Size([2, 6, 4, 4])
    """

    def __init__(self, perturbation: nn.Module) -> None:
        super().__init__()
        self.perturbation = perturbation

    def forward(self, pairs: Tensor) -> Tensor:
        return torch.cat([self.perturbation(image) for image in pairs.chunk(2, dim=1)], dim=1)
