"""Semantic segmentation as a task: a source of images and masks, a model, photometric views, mean IoU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import PIL.Image
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from residual_ssl.data import IMAGE_SUFFIXES, DatasetSpec, SegmentationSource
from residual_ssl.data.samples import Samples
from residual_ssl.diagnostics.unsupervised import checked_choice, criteria_apart, with_criteria
from residual_ssl.errors import ConfigError, DataError, MissingDataError
from residual_ssl.losses import labelled_cross_entropy
from residual_ssl.models import built_network, settled_model
from residual_ssl.perturbations import Photometric
from residual_ssl.selection import Selection
from residual_ssl.task import Batch, Task
from residual_ssl.tasks.confusion import Confusion
from residual_ssl.tasks.image_channels import ImageChannels, scaled_entries
from residual_ssl.tasks.samples import EvaluationSamples, TrainingSamples
from residual_ssl.tasks.segmentation import pictures
from residual_ssl.tasks.segmentation.geometry import WeakGeometry
from residual_ssl.tasks.segmentation.inference import Inference
from residual_ssl.tasks.segmentation.samples import as_input, evaluation_entries, labelled_entries, unlabelled_entries
from residual_ssl.tasks.views import Views

_LOOKED_AT = 20


class SegmentationTask(Task):
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
        sampling: ``sampling(data, samples, num_classes, seed)`` gives the labelled training set that draws anew from
            ``data``, see :class:`RareClassSampling`; None to pass through all images alike.

    Raises:
        ConfigError: another metric to choose by; geometries of two crops.
    """

    main_metric = "miou"
    input_suffixes = IMAGE_SUFFIXES

    def __init__(
        self,
        spec: DatasetSpec,
        source: Callable[..., SegmentationSource],
        model: Callable[..., nn.Module],
        geometry: WeakGeometry,
        strong: Photometric | None = None,
        light: Photometric | None = None,
        labelled: Photometric | None = None,
        inference: Inference | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        supervised_loss: Callable[[Tensor, Tensor, int], Tensor] = labelled_cross_entropy,
        choose_by: str | None = None,
        labelled_geometry: WeakGeometry | None = None,
        sampling: Callable[..., Dataset[Batch]] | None = None,
        channels: int | None = None,
        value_range: Sequence[float | Sequence[float]] | None = None,
        shown: Sequence[int] | None = None,
    ) -> None:
        if labelled_geometry is not None and labelled_geometry.crop != geometry.crop:
            raise ConfigError(
                f"labelled_geometry.crop: got {labelled_geometry.crop}, expected {geometry.crop}, as geometry.crop is"
            )
        self.choose_by = checked_choice(choose_by, ("miou", "pixel_accuracy"))
        self.spec = spec
        self.class_names = spec.classes
        self.ignore_index = spec.ignore_index
        self._source = source
        self._model = model
        self.images = ImageChannels(channels, value_range, mean, std, shown)
        if channels is not None:
            geometry = geometry.filled(self.images.fill)
            labelled_geometry = labelled_geometry and labelled_geometry.filled(self.images.fill)
        self.geometry = geometry
        self.labelled_geometry = geometry if labelled_geometry is None else labelled_geometry
        self._sampling = sampling
        self.inference = Inference() if inference is None else inference
        self.normalisation = self.images.normalisation
        self._views = Views(self.normalisation, strong=strong, light=light, labelled=labelled)
        self._perturbations = (strong, light, labelled)
        self._supervised_loss = supervised_loss

    @cached_property
    def source(self) -> SegmentationSource:
        """The data, read on first use."""
        return self._source()

    def labelled(self, seed: int) -> Dataset[Batch]:
        samples = self.source.labelled
        data = self.training(samples, seed, labelled=True)
        return data if self._sampling is None else self._sampling(data, samples, self.num_classes, seed)

    def unlabelled(self, seed: int) -> Dataset[Batch]:
        return self.training(self.source.unlabelled, seed, labelled=False)

    def training(self, samples: Samples, seed: int, *, labelled: bool) -> TrainingSamples:
        """A training set of samples of the source, under weak augmentation."""
        geometry = self.labelled_geometry if labelled else self.geometry
        entries = labelled_entries if labelled else unlabelled_entries
        made = partial(entries, geometry=geometry, ignore_index=self.ignore_index)
        if self.images.channels is not None:
            made = partial(scaled_entries, made, self.images)
        return TrainingSamples(samples, made, seed, labelled=labelled)

    def validation(self) -> Dataset[Batch]:
        made = partial(evaluation_entries, crop=self.inference.center_crop)
        if self.images.channels is not None:
            made = partial(scaled_entries, made, self.images)
        return EvaluationSamples(self.source.validation, made)

    def targets(self, subset: str) -> tuple[int, Callable[[int], Tensor]]:
        samples: Any = self.source.labelled if subset == "labelled" else self.source.validation

        def read(index: int) -> Tensor:
            mask = samples.mask(index) if hasattr(samples, "mask") else samples[index].mask
            if mask is None:
                raise DataError(f"{subset} set: sample {index} has no mask; it needs one")
            return mask  # type: ignore[no-any-return]

        return len(samples), read

    def settled(self) -> dict[str, Any]:
        found = self.images.settled(self.source.labelled, self.source.unlabelled)
        return found | settled_model(self._model)

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

    def build_model(self) -> nn.Module:
        return built_network(self._model, self.num_classes, self.example())

    def view(self, inputs: Tensor, kind: str) -> Tensor:
        return self._views(inputs, kind)

    def supervised_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        return self._supervised_loss(logits, target, self.ignore_index)

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

    def metric(self) -> Any:
        confusion = Confusion(self.num_classes, ignore_index=self.ignore_index)
        return with_criteria(confusion, self.num_classes)

    def summary(self, computed: Any) -> dict[str, float]:
        confusion, criteria = criteria_apart(computed)
        iou = intersection_over_union(confusion)
        seen = ~iou.isnan()
        metrics = {"miou": 100 * iou[seen].mean().item()}
        if not seen.all():  # a mean over fewer classes is another metric
            metrics["classes_in_miou"] = float(seen.sum().item())
        metrics["pixel_accuracy"] = 100 * (confusion.diagonal().sum() / confusion.sum()).item()
        metrics |= criteria
        named: Mapping[str, Tensor] = dict(zip(self.class_names, iou, strict=True))
        return metrics | {f"iou/{name}": 100 * value.item() for name, value in named.items() if not value.isnan()}


def intersection_over_union(confusion: Tensor) -> Tensor:
    """IoU of each class over a whole data set.

    Args:
        confusion: ``(K, K)`` counts, rows truth, columns prediction.

    Returns:
        float64 ``(K,)`` in [0, 1]; NaN for a class that is neither in the truth nor predicted, which the mean leaves
        out.

    Example:
        >>> import torch
        >>> intersection_over_union(torch.tensor([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))
        tensor([0.7500, 0.8000,    nan], dtype=torch.float64)
    """
    counts = confusion.double()
    hit = counts.diagonal()
    return hit / (counts.sum(0) + counts.sum(1) - hit)
