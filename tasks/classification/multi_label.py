"""Labels that do not exclude each other: a point of two classes for each sample and label."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.classification import MultilabelAveragePrecision, MultilabelStatScores

from residual_ssl.errors import ConfigError
from residual_ssl.models import built_network, two_class_network
from residual_ssl.selection import Selection
from residual_ssl.tasks.classification.classified import ClassifiedTask
from residual_ssl.tasks.classification.task import ClassificationTask


class MultiLabel(ClassifiedTask):
    """What makes a classifier one of several labels a sample: a base to put first, as :class:`MultiLabelTask` does.

    Every pair of a sample and a label is a point of the classes absent (0) and present (1). The network has one output
    ``z`` for each of L labels, whose logits are ``(0, z)``, so that the softmax is the sigmoid of z and the
    cross-entropy the binary one; targets are ``(B, L)``, logits ``(B, 2, L)``. Selectors judge labels by themselves.
    Of samples, ``label`` is a sequence of L numbers: 1 present, 0 absent, None unknown; or None as a whole.

    Metrics: ``map``, the mean over the labels of the average precision; ``f1``, the mean of F1 at a probability of ½;
    ``micro_f1``, over all pairs; ``ap/NAME`` and ``f1/NAME``. Labels that never occur have no part in the means.

    Attributes:
        label_names: of the L labels.
    """

    main_metric = "map"
    chosen_by = ("map", "f1", "micro_f1")
    density = False
    tabular = True

    def name_classes(self, names: tuple[str, ...]) -> None:
        if not names or len(set(names)) < len(names):
            raise ConfigError(f"classes: got {list(names)}, expected the names of one or more labels, each given once")
        self.label_names = names
        self.class_names = ("absent", "present")

    def target(self, label: Any) -> Tensor:
        known = [None] * len(self.label_names) if label is None else list(label)
        return torch.tensor([self.ignore_index if value is None else int(value) for value in known])

    def build_model(self) -> nn.Module:
        # A network of one output would be taken for one of no choice: sizes are checked after the two classes are made.
        network = built_network(self._model, len(self.label_names), self.example())
        return two_class_network(network, several=True)

    def trusted_places(self, trusted: Tensor) -> Tensor:
        return trusted.all(1)  # a sample, where all its labels are

    def metadata(self) -> dict[str, object]:
        return {**super().metadata(), "labels": list(self.label_names)}

    def rows(self, logits: Tensor, selection: Selection) -> list[dict[str, str | float]]:
        """Names of the labels that are present, the least confidence and trust of them all, probability of each."""
        present = logits.softmax(1)[:, 1]
        found: list[dict[str, str | float]] = []
        for i, row in enumerate(present.tolist()):
            named = [name for name, share in zip(self.label_names, row, strict=True) if share > 0.5]
            judged = {"confidence": selection.confidence[i].min().item(), "trust": selection.weight[i].min().item()}
            shares = {f"p({name})": share for name, share in zip(self.label_names, row, strict=True)}
            found.append({"label": "; ".join(named), **judged, **shares})
        return found

    def metric(self) -> Any:
        return _LabelMetrics(len(self.label_names), self.ignore_index)

    def summary(self, computed: Any) -> dict[str, float]:
        precision, (hit, false_alarm, _, missed, _) = computed["precision"].double(), computed["counts"].double().T
        f1 = 2 * hit / (2 * hit + false_alarm + missed)
        occurs = hit + missed > 0
        means = {"map": precision[occurs].mean(), "f1": f1[occurs].mean()}
        means["micro_f1"] = 2 * hit.sum() / (2 * hit + false_alarm + missed).sum()
        for i, name in enumerate(self.label_names):
            if occurs[i]:
                means |= {f"ap/{name}": precision[i], f"f1/{name}": f1[i]}
        return {name: 100 * value.item() for name, value in means.items()}


class MultiLabelTask(MultiLabel, ClassificationTask):
    """:class:`ClassificationTask` of images that have any number of labels, see :class:`MultiLabel`.

    Args as there, with ``classes`` the names of the labels.
    """


class _LabelMetrics(MetricCollection):  # type: ignore[misc]
    """Average precision and counts of each label, of logits ``(B, 2, L)`` and targets ``(B, L)``."""

    def __init__(self, labels: int, ignore_index: int) -> None:
        shared = {"num_labels": labels, "ignore_index": ignore_index}
        parts = {
            "precision": MultilabelAveragePrecision(average=None, **shared),
            "counts": MultilabelStatScores(average=None, **shared),
        }
        super().__init__(parts, compute_groups=False)

    def update(self, logits: Tensor, target: Tensor) -> None:
        super().update(logits.softmax(1)[:, 1], target)

    def compute(self) -> dict[str, Any]:
        with warnings.catch_warnings():  # of labels that never occur, which the means leave out
            warnings.filterwarnings("ignore", "No positive samples")
            found: dict[str, Any] = super().compute()
        return found
