"""Classification of images as a task: a source of images and classes, a model, views, accuracy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from residual_ssl.data import IMAGE_SUFFIXES, ClassificationSource, read_image
from residual_ssl.diagnostics.unsupervised import checked_choice, criteria_apart, with_criteria
from residual_ssl.errors import ConfigError
from residual_ssl.losses import labelled_cross_entropy
from residual_ssl.task import Batch, Task
from residual_ssl.tasks.classification.geometry import FlipAndCrop
from residual_ssl.tasks.classification.metric import ClassificationConfusion, classification_figures
from residual_ssl.tasks.classification.samples import AugmentedImages, PlainImages
from residual_ssl.tasks.normalisation import IMAGENET_MEAN, IMAGENET_STD, Normalisation
from residual_ssl.tasks.views import Views


class ClassificationTask(Task):
    """Classification of images in [0, 1]; targets are class ids ``(B,)``, logits ``(B, K)``.

    Args:
        classes: names of the K classes; their number comes from here and nowhere else.
        source: ``source()`` gives the images and classes; called when data is first needed, so that a trained model
            predicts on machines without the data set.
        model: ``model(num_classes=K)`` gives a new model, as a rule a
            :class:`~residual_ssl.models.ClassificationModel`.
        weak: size and weak augmentation of the images.
        strong, light, labelled: perturbations of the views of those names, of images ``(B, C, H, W)`` in [0, 1]; None
            leaves the view plain.
        mean, std: normalisation of the model's input, of each channel in [0, 1].
        supervised_loss: ``supervised_loss(logits, target, ignore_index)``, loss of the labelled batch.
        choose_by: figure that chooses the best checkpoint: ``accuracy``, ``balanced_accuracy``, or, without labels,
            ``unsupervised_infomax``, ``unsupervised_density`` or ``unsupervised_certainty``; None for ``accuracy``.

    Raises:
        ConfigError: fewer than two classes, or a name given twice; another figure to choose by.
    """

    main_metric = "accuracy"
    input_suffixes = IMAGE_SUFFIXES
    ignore_index = -100  # beyond any number of classes, and none of what data.OUTSIDE means

    def __init__(
        self,
        classes: Sequence[str],
        source: Callable[..., ClassificationSource],
        model: Callable[..., nn.Module],
        weak: FlipAndCrop,
        strong: nn.Module | None = None,
        light: nn.Module | None = None,
        labelled: nn.Module | None = None,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        supervised_loss: Callable[[Tensor, Tensor, int], Tensor] = labelled_cross_entropy,
        choose_by: str | None = None,
    ) -> None:
        self.choose_by = checked_choice(choose_by, ("accuracy", "balanced_accuracy"), density=True)
        self.class_names = tuple(str(name) for name in classes)
        if len(self.class_names) < 2 or len(set(self.class_names)) < len(self.class_names):
            raise ConfigError(f"classes: got {list(classes)}, expected two or more names, each given once")
        self._source = source
        self._model = model
        self.weak = weak
        self.normalisation = Normalisation(mean, std)
        self._views = Views(self.normalisation, strong=strong, light=light, labelled=labelled)
        self._supervised_loss = supervised_loss

    @cached_property
    def source(self) -> ClassificationSource:
        """The data, read on first use."""
        return self._source()

    def labelled(self, seed: int) -> Dataset[Batch]:
        return AugmentedImages(self.source.labelled, self.weak, self.ignore_index, seed, labelled=True)

    def unlabelled(self, seed: int) -> Dataset[Batch]:
        return AugmentedImages(self.source.unlabelled, self.weak, self.ignore_index, seed, labelled=False)

    def validation(self) -> Dataset[Batch]:
        return PlainImages(self.source.validation, self.weak)

    def targets(self, subset: str) -> tuple[int, Callable[[int], Tensor]]:
        labels = (self.source.labelled if subset == "labelled" else self.source.validation).labels
        unknown = self.ignore_index
        return len(labels), lambda index: torch.tensor(unknown if labels[index] is None else labels[index])

    def build_model(self) -> nn.Module:
        return self._model(num_classes=self.num_classes)

    def view(self, inputs: Tensor, kind: str) -> Tensor:
        return self._views(inputs, kind)

    def display(self, view: Tensor) -> Tensor:
        """Views ``(B, C, H, W)`` as images in [0, 1] again: :meth:`view` without its normalisation."""
        return self.normalisation.undone(view)

    def supervised_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        return self._supervised_loss(logits, target, self.ignore_index)

    def metric(self) -> Any:
        confusion = ClassificationConfusion(self.num_classes, ignore_index=self.ignore_index)
        return with_criteria(confusion, self.num_classes, density=True)

    def summary(self, computed: Any) -> dict[str, float]:
        confusion, criteria = criteria_apart(computed)
        return classification_figures(confusion, self.class_names) | criteria

    def read(self, path: Path) -> Tensor:
        return self.weak.plain(read_image(path))

    def example(self) -> Tensor:
        return torch.full((len(self.normalisation.mean), self.weak.size, self.weak.size), 0.5)
