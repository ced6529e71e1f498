"""What classifiers of images and of vectors share: a class for every sample, accuracy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from residual_ssl.data import ClassificationSource
from residual_ssl.diagnostics.unsupervised import checked_choice, criteria_apart, with_criteria
from residual_ssl.errors import ConfigError
from residual_ssl.losses import labelled_cross_entropy
from residual_ssl.models import built_network, settled_model
from residual_ssl.task import Batch, Task
from residual_ssl.tasks.classification.metric import classification_metrics
from residual_ssl.tasks.classification.samples import (
    WeakAugmentation,
    evaluation_entries,
    labelled_entries,
    unlabelled_entries,
)
from residual_ssl.tasks.confusion import Confusion
from residual_ssl.tasks.samples import EvaluationSamples, TrainingSamples
from residual_ssl.tasks.views import Views


class ClassifiedTask(Task):
    """A class for every sample; targets are class ids ``(B,)``, logits ``(B, K)``.

    Args:
        classes: names of the K classes; their number comes from here and nowhere else.
        source: ``source()`` gives inputs and classes; called when data is first needed, so that a trained model
            predicts on machines without the data set.
        model: ``model(num_classes=K)`` gives a new model.
        weak: makes an input of what the source holds.
        views: perturbations by the names of views.
        supervised_loss: ``supervised_loss(logits, target, ignore_index)``, loss of the labelled batch.
        choose_by: metric that chooses the best checkpoint: ``accuracy``, ``balanced_accuracy``, or, without labels,
            ``unsupervised_infomax``, ``unsupervised_density`` or ``unsupervised_certainty``; None for ``accuracy``.

    Raises:
        ConfigError: fewer than two classes, or a name given twice; another metric to choose by.
    """

    main_metric = "accuracy"
    chosen_by: tuple[str, ...] = ("accuracy", "balanced_accuracy")  # metrics that may choose a checkpoint
    density = True
    ignore_index = -100  # beyond any number of classes, and none of what data.OUTSIDE means

    def __init__(
        self,
        classes: Sequence[str],
        source: Callable[..., ClassificationSource],
        model: Callable[..., nn.Module],
        weak: WeakAugmentation,
        views: Views,
        supervised_loss: Callable[[Tensor, Tensor, int], Tensor] = labelled_cross_entropy,
        choose_by: str | None = None,
    ) -> None:
        self.choose_by = checked_choice(choose_by, self.chosen_by, density=self.density)
        self.name_classes(tuple(str(name) for name in classes))
        self._source = source
        self._model = model
        self._weak = weak
        self._views = views
        self._supervised_loss = supervised_loss

    def name_classes(self, names: tuple[str, ...]) -> None:
        """Take the names of the classes that samples may be of."""
        if len(names) < 2 or len(set(names)) < len(names):
            raise ConfigError(f"classes: got {list(names)}, expected two or more names, each given once")
        self.class_names = names

    def target(self, label: Any) -> Tensor:
        """Class ids of a sample's label, ``ignore_index`` where nothing is known."""
        return torch.tensor(self.ignore_index if label is None else label)

    @cached_property
    def source(self) -> ClassificationSource:
        """The data, read on first use."""
        return self._source()

    def labelled(self, seed: int) -> Dataset[Batch]:
        entries = self.entries(partial(labelled_entries, weak=self._weak, target=self.target))
        return TrainingSamples(self.source.labelled, entries, seed, labelled=True)

    def unlabelled(self, seed: int) -> Dataset[Batch]:
        samples = self.source.unlabelled
        known = any(label is not None for label in samples.labels)
        entries = partial(unlabelled_entries, weak=self._weak, truth=self.target if known else None)
        return TrainingSamples(samples, self.entries(entries), seed, labelled=False)

    def entries(self, entries: Callable[..., Batch]) -> Callable[..., Batch]:
        """What makes the entries of a batch of a sample, as given or after a step of the task's own."""
        return entries

    def validation(self) -> Dataset[Batch]:
        entries = self.entries(partial(evaluation_entries, weak=self._weak, target=self.target))
        return EvaluationSamples(self.source.validation, entries)

    def targets(self, subset: str) -> tuple[int, Callable[[int], Tensor]]:
        labels = (self.source.labelled if subset == "labelled" else self.source.validation).labels
        return len(labels), lambda index: self.target(labels[index])

    def settled(self) -> dict[str, Any]:
        return settled_model(self._model)

    def build_model(self) -> nn.Module:
        return built_network(self._model, self.num_classes, self.example())

    def view(self, inputs: Tensor, kind: str) -> Tensor:
        return self._views(inputs, kind)

    def supervised_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        return self._supervised_loss(logits, target, self.ignore_index)

    def metric(self) -> Any:
        confusion = Confusion(self.num_classes, ignore_index=self.ignore_index)
        return with_criteria(confusion, self.num_classes, density=True)

    def summary(self, computed: Any) -> dict[str, float]:
        confusion, criteria = criteria_apart(computed)
        return classification_metrics(confusion, self.class_names) | criteria
