"""Classification of images as a task: a source of images and classes, a model, views, accuracy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from residual_ssl.data import IMAGE_SUFFIXES, ClassificationSource, read_image
from residual_ssl.losses import labelled_cross_entropy
from residual_ssl.tasks.classification.classified import ClassifiedTask
from residual_ssl.tasks.classification.geometry import FlipAndCrop
from residual_ssl.tasks.normalisation import IMAGENET_MEAN, IMAGENET_STD, Normalisation
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
        mean, std: normalisation of the model's input, of each channel in [0, 1].
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
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        supervised_loss: Callable[[Tensor, Tensor, int], Tensor] = labelled_cross_entropy,
        choose_by: str | None = None,
    ) -> None:
        self.normalisation = Normalisation(mean, std)
        views = Views(self.normalisation, strong=strong, light=light, labelled=labelled)
        super().__init__(classes, source, model, weak, views, supervised_loss, choose_by)
        self.weak = weak

    def display(self, view: Tensor) -> Tensor:
        """Views ``(B, C, H, W)`` as images in [0, 1] again: :meth:`view` without its normalisation."""
        return self.normalisation.undone(view)

    def read(self, path: Path) -> Tensor:
        return self.weak.plain(read_image(path))

    def example(self) -> Tensor:
        return torch.full((len(self.normalisation.mean), self.weak.size, self.weak.size), 0.5)
