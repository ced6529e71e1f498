"""Detection as a task: a source of images and boxes, a dense detector, photometric views, average precision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import PIL.Image
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from residual_ssl.data import IMAGE_SUFFIXES, BoxSample, DetectionSource, read_image
from residual_ssl.errors import ConfigError, InvalidInputError
from residual_ssl.perturbations import Photometric
from residual_ssl.selection import Selection
from residual_ssl.task import Batch, Task
from residual_ssl.tasks.detection import boxes as dense_boxes
from residual_ssl.tasks.detection.average_precision import AveragePrecision
from residual_ssl.tasks.detection.locations import Locations
from residual_ssl.tasks.detection.pictures import drawn_boxes
from residual_ssl.tasks.detection.samples import evaluation_entries, labelled_entries, unlabelled_entries
from residual_ssl.tasks.normalisation import IMAGENET_MEAN, IMAGENET_STD, Normalisation
from residual_ssl.tasks.samples import EvaluationSamples, TrainingSamples
from residual_ssl.tasks.segmentation.geometry import WeakGeometry
from residual_ssl.tasks.views import Views


class DetectionTask(Task):
    """Detection of objects by a dense detector: points are the places of its feature maps, and the background a class.

    Inputs are images in [0, 1]. Values behind the logits are a box in pixels and the logit of its centerness, see
    :class:`FCOS`. What a selector accepts is suppressed by non-maximum suppression before it teaches, see
    :func:`~residual_ssl.tasks.detection.boxes.pseudo_boxes`.

    Args:
        classes: names of the objects' classes, in the order of their ids, without the background.
        source: ``source()`` gives images and boxes; called when data is first needed.
        model: ``model(num_classes=K, strides=strides)`` gives a new detector, as :class:`FCOS`; K has background.
        geometry: the weak augmentation of the training sets: resize, crop, flip, which the boxes follow.
        strides: of the detector's levels.
        strong, light, labelled: photometric changes of the views of those names; None leaves the view plain.
        mean, std: normalisation of the model's input, RGB in [0, 1].

    Raises:
        ConfigError: no class, a class named background or twice; classes that are not those of the source.
    """

    ignore_index = -100
    main_metric = "ap"
    num_values = 5
    input_suffixes = IMAGE_SUFFIXES
    tiled = False  # a box that a tile's border cuts would be two

    def __init__(
        self,
        classes: Sequence[str],
        source: Callable[..., DetectionSource],
        model: Callable[..., nn.Module],
        geometry: WeakGeometry,
        strides: Sequence[int] = (8, 16, 32, 64, 128),
        strong: Photometric | None = None,
        light: Photometric | None = None,
        labelled: Photometric | None = None,
        mean: tuple[float, float, float] = IMAGENET_MEAN,
        std: tuple[float, float, float] = IMAGENET_STD,
    ) -> None:
        self.class_names = ("background", *classes)
        if len(self.class_names) < 2 or len(set(self.class_names)) < len(self.class_names):
            raise ConfigError(f"classes: got {list(classes)}, expected one or more different names beside background")
        self._source, self._model, self.geometry = source, model, geometry
        self.locations = Locations(strides)
        self.normalisation = Normalisation(mean, std)
        self._views = Views(self.normalisation, strong=strong, light=light, labelled=labelled)

    @cached_property
    def source(self) -> DetectionSource:
        """The data, read on first use."""
        source = self._source()
        if tuple(source.classes) != self.class_names[1:]:
            raise ConfigError(f"classes: got {list(self.class_names[1:])}, and the source has {list(source.classes)}")
        return source

    def labelled(self, seed: int) -> Dataset[Batch]:
        return TrainingSamples(self.source.labelled, self._made(labelled_entries), seed, labelled=True)

    def unlabelled(self, seed: int) -> Dataset[Batch]:
        return TrainingSamples(self.source.unlabelled, self._made(unlabelled_entries), seed, labelled=False)

    def _made(self, entries: Callable[..., Batch]) -> Callable[[BoxSample, torch.Generator], Batch]:
        return partial(entries, geometry=self.geometry, locations=self.locations, ignore_index=self.ignore_index)

    def validation(self) -> Dataset[Batch]:
        most = max(1, self.source.most)
        entries = partial(evaluation_entries, most=most, locations=self.locations, ignore_index=self.ignore_index)
        return EvaluationSamples(self.source.validation, entries)

    def build_model(self) -> nn.Module:
        return self._model(num_classes=self.num_classes, strides=self.locations.strides)

    def view(self, inputs: Tensor, kind: str) -> Tensor:
        return self._views(inputs, kind)

    def supervised_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        return dense_boxes.focal_loss(logits, target, self.ignore_index)

    def value_loss(self, values: Tensor, taught: Tensor, label: Tensor, weight: Tensor) -> Tensor:
        return dense_boxes.box_loss(values, taught, label, weight)

    def pseudo_labels(self, selection: Selection, shown: Tensor) -> Selection:
        return dense_boxes.pseudo_boxes(selection, self.locations, tuple(shown.shape[2:]))

    def trusted_places(self, trusted: Tensor) -> Tensor:
        return self.locations.over(trusted, self.geometry.crop)

    def at_points(self, places: Tensor) -> Tensor:
        return self.locations.at(places)

    def metric(self) -> Any:
        return AveragePrecision(self.num_classes)

    def summary(self, computed: Tensor) -> dict[str, float]:
        def mean(part: Tensor) -> float:
            return 100 * part[~part.isnan()].mean().item()

        metrics = {"ap": mean(computed), "ap_50": mean(computed[0]), "ap_75": mean(computed[5])}
        each = zip(self.class_names[1:], computed.T, strict=True)
        return metrics | {f"ap/{name}": mean(own) for name, own in each if not own.isnan().any()}

    def read(self, path: Path) -> Tensor:
        return read_image(path).float() / 255

    def example(self) -> Tensor:
        return torch.full((3, *self.geometry.crop), 0.5)

    def pictures(self, sample: Tensor, label: Tensor, selection: Selection) -> dict[str, PIL.Image.Image]:
        if selection.values is None:
            raise InvalidInputError("selection: has no values, expected the boxes of the prediction; use Task.judged")
        boxes, trusted = dense_boxes.boxes_of(selection)
        texts = [f"{self.class_names[k]} {score:.2f}" for k, score in zip(boxes.classes, boxes.scores, strict=True)]
        return {"overlay": drawn_boxes(sample, boxes.boxes, texts, boxes.classes, trusted)}
