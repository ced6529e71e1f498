"""Semantic segmentation as a task: a source of images and masks, a model, photometric views, mean IoU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import PIL.Image
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from residual_ssl.data import IMAGE_SUFFIXES, DatasetSpec, SegmentationSource
from residual_ssl.data.samples import Samples
from residual_ssl.errors import ConfigError, DataError, MissingDataError
from residual_ssl.losses import labelled_cross_entropy
from residual_ssl.selection import Selection
from residual_ssl.task import Batch
from residual_ssl.tasks.dense import DenseTask
from residual_ssl.tasks.dense import intersection_over_union as intersection_over_union
from residual_ssl.tasks.image_channels import ImageChannels, scaled_entries
from residual_ssl.tasks.samples import EvaluationSamples, TrainingSamples
from residual_ssl.tasks.segmentation import pictures
from residual_ssl.tasks.segmentation.geometry import WeakGeometry
from residual_ssl.tasks.segmentation.inference import Inference
from residual_ssl.tasks.segmentation.samples import (
    Regions,
    as_input,
    evaluation_entries,
    labelled_entries,
    unlabelled_entries,
)
from residual_ssl.tasks.views import Views

_LOOKED_AT = 20


class SegmentationTask(DenseTask):
    """Semantic segmentation; inputs are images in [0, 1], targets class ids of every pixel.

    Args:
        spec: classes, palette and ignore index; the number of classes comes from here and nowhere else.
        source: ``source()`` gives the images and masks; called when data is first needed, so that a trained model
            predicts on machines without the data set.
        model: ``model(num_classes=K)`` gives a new model.
        geometry: the weak augmentation of the training sets: resize, crop, flip.
        strong, light, labelled: photometric changes of the views of those names; None leaves the view plain.
        inference: how images are predicted, and which part of them evaluation counts; None for whole images.
        mean, std, channels, value_range, shown: of the images, see :class:`ImageChannels`.
        supervised_loss: ``supervised_loss(logits, target, ignore_index)``, loss of the labelled batch.
        choose_by: metric that chooses the best checkpoint: ``miou``, ``pixel_accuracy``, or, without labels,
            ``unsupervised_infomax`` or ``unsupervised_certainty`` over all pixels; None for ``miou``.
        labelled_geometry: the weak augmentation of the labelled images where it differs, as in adaptation from a
            domain of other image sizes; of the same crop. None for ``geometry``.
        one_logit: of two classes: the network has one output z, as ``model(num_classes=1)`` makes it, whose logits are
            ``(0, z)``: a sigmoid, and its binary cross-entropy.
        sampling: ``sampling(data, samples, num_classes, seed)`` gives the labelled training set that draws anew from
            ``data``, see :class:`RareClassSampling`; None to pass through all images alike.
        regions: ``regions(image, name)`` proposes regions of unlabelled images, as :class:`~residual_ssl.data.SLIC`;
            None: there are none.

    Raises:
        ConfigError: another metric to choose by; geometries of two crops; one logit for other than two classes.
    """

    main_metric = "miou"
    chosen_by: tuple[str, ...] = ("miou", "pixel_accuracy")
    input_suffixes = IMAGE_SUFFIXES

    def __init__(
        self,
        spec: DatasetSpec,
        source: Callable[..., SegmentationSource],
        model: Callable[..., nn.Module],
        geometry: WeakGeometry,
        strong: nn.Module | None = None,
        light: nn.Module | None = None,
        labelled: nn.Module | None = None,
        inference: Inference | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        supervised_loss: Callable[[Tensor, Tensor, int], Tensor] = labelled_cross_entropy,
        choose_by: str | None = None,
        labelled_geometry: WeakGeometry | None = None,
        sampling: Callable[..., Dataset[Batch]] | None = None,
        regions: Regions | None = None,
        one_logit: bool = False,
        channels: int | None = None,
        value_range: Sequence[float | Sequence[float]] | None = None,
        shown: Sequence[int] | None = None,
    ) -> None:
        if labelled_geometry is not None and labelled_geometry.crop != geometry.crop:
            raise ConfigError(
                f"labelled_geometry.crop: got {labelled_geometry.crop}, expected {geometry.crop}, as geometry.crop is"
            )
        self.images = ImageChannels(channels, value_range, mean, std, shown)
        self.normalisation = self.images.normalisation
        views = Views(self.normalisation, strong=strong, light=light, labelled=labelled)
        super().__init__(spec, source, model, views, supervised_loss, choose_by, one_logit)
        self._perturbations = (strong, light, labelled)
        if channels is not None:
            geometry = geometry.filled(self.images.fill)
            labelled_geometry = labelled_geometry and labelled_geometry.filled(self.images.fill)
        self.geometry = geometry
        self.labelled_geometry = geometry if labelled_geometry is None else labelled_geometry
        self._sampling = sampling
        self.regions = regions
        self.inference = Inference() if inference is None else inference

    def labelled(self, seed: int) -> Dataset[Batch]:
        samples = self.source.labelled
        data = self.training(samples, seed, labelled=True)
        return data if self._sampling is None else self._sampling(data, samples, self.num_classes, seed)

    def training(self, samples: Samples, seed: int, *, labelled: bool) -> TrainingSamples:
        geometry = self.labelled_geometry if labelled else self.geometry
        entries = labelled_entries if labelled else partial(unlabelled_entries, regions=self.regions)
        made = partial(entries, geometry=geometry, ignore_index=self.ignore_index)
        if self.images.channels is not None:
            made = partial(scaled_entries, made, self.images)
        return TrainingSamples(samples, made, seed, labelled=labelled)

    def unlabelled_input(self, index: int) -> Tensor | None:
        return as_input(self.images.scaled(self.source.unlabelled[index].image))

    def validation(self) -> Dataset[Batch]:
        made = partial(evaluation_entries, crop=self.inference.center_crop)
        if self.images.channels is not None:
            made = partial(scaled_entries, made, self.images)
        return EvaluationSamples(self.source.validation, made)

    def settled(self) -> dict[str, Any]:
        found = self.images.settled(self.source.labelled, self.source.unlabelled)
        return found | super().settled()

    def remarks(self) -> list[str]:
        return [*self.images.remarks(*self._perturbations), *self._crop_remarks()]

    def _crop_remarks(self) -> list[str]:
        count, target = self.targets("labelled")
        sizes = []
        for index in range(0, count, -(-count // _LOOKED_AT) or 1):
            with suppress(DataError, MissingDataError):  # a run skips such a sample, or says so itself
                sizes.append(tuple(target(index).shape))
        height, width = (max((size[i] for size in sizes), default=0) for i in (0, 1))
        crop = self.geometry.crop
        if not sizes or height * width > crop[0] * crop[1] / 2:
            return []
        return [
            f"dataset.geometry.crop: got {crop[0]}×{crop[1]} for labelled images of at most {height}×{width}; half "
            f"of a crop and more is padding. Set dataset.geometry.crop=[{height},{width}]"
        ]

    @torch.no_grad()
    def predict(self, model: nn.Module, inputs: Tensor) -> Tensor:
        return self.inference(lambda images: model(self.view(images, "plain")), inputs)

    def read(self, path: Path) -> Tensor:
        return as_input(self.images.read(path))

    def read_all(self, path: Path) -> Iterator[tuple[str, Tensor]]:
        if self.images.channels is None:
            yield from super().read_all(path)
            return
        for ending, image in self.images.read_all(path):
            yield ending, as_input(image)

    def example(self) -> Tensor:
        return torch.full((self.images.count, *self.geometry.crop), 0.5)

    def metadata(self) -> dict[str, object]:
        # The file holds the network alone: these metrics were had with this inference around it.
        palette = [list(colour) for colour in self.spec.palette]
        return {**super().metadata(), "palette": palette, "inference": repr(self.inference)}

    def display(self, view: Tensor) -> Tensor:
        """Views ``(B, C, H, W)`` as pictures ``(B, 3, H, W)`` in [0, 1]: :meth:`view` without its normalisation."""
        return torch.stack([self.picture(image) for image in self.normalisation.undone(view)])

    def picture(self, image: Tensor) -> Tensor:
        """An image of the source, or an input, ``(C, H, W)``, as one to look at, ``(3, H, W)`` in [0, 1]."""
        return self.images.picture(image)

    def draw_labels(self, label: Tensor) -> Tensor:
        """Class ids ``(H, W)`` in the colours of the classes, float ``(3, H, W)`` in [0, 1]; ignored points white."""
        return pictures.coloured(label, self.spec)

    def pictures(self, sample: Tensor, label: Tensor, selection: Selection) -> dict[str, PIL.Image.Image]:
        return {
            "label": pictures.label_image(label, self.spec),
            "overlay": pictures.overlay_image(self.picture(sample), label, self.spec),
            "confidence": pictures.heat_image(selection.confidence[0]),
            "trust": pictures.heat_image(selection.weight[0]),
        }
