"""Classification of vectors as a task: rows of a table, texts as TF-IDF, embeddings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from residual_ssl.data import ClassificationSource
from residual_ssl.errors import ConfigError
from residual_ssl.losses import labelled_cross_entropy
from residual_ssl.tasks.classification.classified import ClassifiedTask
from residual_ssl.tasks.classification.samples import WeakAugmentation
from residual_ssl.tasks.views import Views


class FeatureTask(ClassifiedTask):
    """Classification of vectors of D features; targets are class ids ``(B,)``, logits ``(B, K)``.

    Inputs and views are float32 ``(B, 1, D)``: one channel, whose points are the features, so that
    :class:`~residual_ssl.TrustedMask` hides blocks of neighbouring features; the features come standardised from the
    source, and 0 is their mean (or a word that does not occur). There is no weak augmentation of them.

    Args:
        classes: names of the K classes.
        num_features: D; given and not found in the data, so that a trained model predicts on machines without them.
        source: ``source()`` gives the rows, as :func:`~residual_ssl.data.feature_split` does; called when data is
            first needed.
        model: ``model(num_features=D, num_classes=K)`` gives a new model, as :class:`~residual_ssl.models.MLP`.
        strong, light, labelled: perturbations of the views of those names, as
            :class:`~residual_ssl.perturbations.FeatureNoise`; None leaves the view plain.
        supervised_loss: ``supervised_loss(logits, target, ignore_index)``, loss of the labelled batch.
        weak: makes an input of what the source holds; None where it holds inputs.
        choose_by: metric that chooses the best checkpoint, as of the other classifiers.

    Raises:
        ConfigError: fewer than two classes; when the data is read, rows of another length than D.
    """

    def __init__(
        self,
        classes: Sequence[str],
        num_features: int,
        source: Callable[..., ClassificationSource],
        model: Callable[..., nn.Module],
        strong: nn.Module | None = None,
        light: nn.Module | None = None,
        labelled: nn.Module | None = None,
        supervised_loss: Callable[[Tensor, Tensor, int], Tensor] = labelled_cross_entropy,
        weak: WeakAugmentation | None = None,
        choose_by: str | None = None,
    ) -> None:
        views = Views(strong=strong, light=light, labelled=labelled)  # without a normalisation
        sized = partial(model, num_features=num_features)
        super().__init__(classes, source, sized, weak or _Unchanged(), views, supervised_loss, choose_by)
        self.num_features = num_features

    @cached_property
    def source(self) -> ClassificationSource:
        """The data, read on first use."""
        source = self._source()
        length = source.labelled[0].image.shape[-1] if len(source.labelled) else self.num_features
        if length != self.num_features:
            raise ConfigError(
                f"num_features: got {self.num_features}, and the rows have {length} features; set "
                f"dataset.num_features={length}"
            )
        return source

    def features(self, inputs: Tensor) -> Tensor:
        return inputs.flatten(1)

    def example(self) -> Tensor:
        return torch.zeros(1, self.num_features)


class _Unchanged:
    """Takes the place of a weak augmentation: there is none that fits every kind of feature."""

    def __call__(self, row: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return row

    def plain(self, row: Tensor) -> Tensor:
        return row
