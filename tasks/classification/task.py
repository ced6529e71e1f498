"""Classification of images as a task: a source of images and classes, a model, views, accuracy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from residual_ssl.data import IMAGE_SUFFIXES, ClassificationSource
from residual_ssl.losses import labelled_cross_entropy
from residual_ssl.task import Batch
from residual_ssl.tasks.classification.classified import ClassifiedTask
from residual_ssl.tasks.classification.geometry import FlipAndCrop
from residual_ssl.tasks.image_channels import ImageChannels, scaled_entries
from residual_ssl.tasks.views import Views


class ClassificationTask(ClassifiedTask):
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
        mean, std, channels, value_range, shown: of the images, see
            :class:`~residual_ssl.tasks.image_channels.ImageChannels`.
        supervised_loss: ``supervised_loss(logits, target, ignore_index)``, loss of the labelled batch.
        choose_by: metric that chooses the best checkpoint: ``accuracy``, ``balanced_accuracy``, or, without labels,
            ``unsupervised_infomax``, ``unsupervised_density`` or ``unsupervised_certainty``; None for ``accuracy``.

    Raises:
        ConfigError: fewer than two classes, or a name given twice; another metric to choose by.
    """

    input_suffixes = IMAGE_SUFFIXES

    def __init__(
        self,
        classes: Sequence[str],
        source: Callable[..., ClassificationSource],
        model: Callable[..., nn.Module],
        weak: FlipAndCrop,
        strong: nn.Module | None = None,
        light: nn.Module | None = None,
        labelled: nn.Module | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        supervised_loss: Callable[[Tensor, Tensor, int], Tensor] = labelled_cross_entropy,
        choose_by: str | None = None,
        channels: int | None = None,
        value_range: Sequence[float | Sequence[float]] | None = None,
        shown: Sequence[int] | None = None,
    ) -> None:
        self.images = ImageChannels(channels, value_range, mean, std, shown)
        self.normalisation = self.images.normalisation
        self._perturbations = (strong, light, labelled)
        views = Views(self.normalisation, strong=strong, light=light, labelled=labelled)
        super().__init__(classes, source, model, weak, views, supervised_loss, choose_by)
        self.weak = weak

    def settled(self) -> dict[str, Any]:
        found = self.images.settled(self.source.labelled, self.source.unlabelled)
        return found | super().settled()

    def remarks(self) -> list[str]:
        return self.images.remarks(*self._perturbations)

    def entries(self, entries: Callable[..., Batch]) -> Callable[..., Batch]:
        return entries if self.images.channels is None else partial(scaled_entries, entries, self.images)

    def display(self, view: Tensor) -> Tensor:
        """Views ``(B, C, H, W)`` as pictures ``(B, 3, H, W)`` in [0, 1]: :meth:`view` without its normalisation."""
        return torch.stack([self.picture(image) for image in self.normalisation.undone(view)])

    def picture(self, image: Tensor) -> Tensor:
        """An image of the source, or an input, ``(C, H, W)``, as one to look at, ``(3, H, W)`` in [0, 1]."""
        return self.images.picture(image)

    def read(self, path: Path) -> Tensor:
        return self.weak.plain(self.images.read(path))

    def example(self) -> Tensor:
        return torch.full((self.images.count, self.weak.size, self.weak.size), 0.5)
