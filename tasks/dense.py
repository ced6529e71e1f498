"""What tasks with a class for every point share: the source, the network, the loss, the confusion matrix."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from torch import Tensor, nn
from torch.utils.data import Dataset

from residual_ssl.data import DatasetSpec
from residual_ssl.data.samples import Samples
from residual_ssl.diagnostics.unsupervised import checked_choice, criteria_apart, with_criteria
from residual_ssl.errors import ConfigError, DataError
from residual_ssl.losses import labelled_cross_entropy
from residual_ssl.models import built_network, settled_model, two_class_network
from residual_ssl.task import Batch, Task
from residual_ssl.tasks.confusion import Confusion
from residual_ssl.tasks.samples import TrainingSamples
from residual_ssl.tasks.views import Views


class DenseTask(Task):
    """A class for every point of inputs ``(B, C, *S)``; targets are class ids ``(B, *S)``, logits ``(B, K, *S)``.

    Args:
        spec: classes, palette and ignore index; the number of classes comes from here and nowhere else.
        source: ``source()`` gives the samples; called when data is first needed, so that a trained model predicts on
            machines without the data set.
        model: ``model(num_classes=K)`` gives a new model.
        views: perturbations by the names of views.
        supervised_loss: ``supervised_loss(logits, target, ignore_index)``, loss of the labelled batch.
        choose_by: metric that chooses the best checkpoint: one of :attr:`chosen_by`, or, without labels,
            ``unsupervised_infomax`` or ``unsupervised_certainty`` over all points; None for the main one.
        one_logit: of two classes: the network has one output z, as ``model(num_classes=1)`` makes it, whose logits are
            ``(0, z)``: a sigmoid, and its binary cross-entropy.

    Raises:
        ConfigError: another metric to choose by; one logit for other than two classes.
    """

    chosen_by: tuple[str, ...]

    def __init__(
        self,
        spec: DatasetSpec,
        source: Callable[..., Any],
        model: Callable[..., nn.Module],
        views: Views,
        supervised_loss: Callable[[Tensor, Tensor, int], Tensor] = labelled_cross_entropy,
        choose_by: str | None = None,
        one_logit: bool = False,
    ) -> None:
        if one_logit and spec.num_classes != 2:
            raise ConfigError(f"one_logit: got true for {spec.num_classes} classes, expected two to tell apart")
        self.one_logit = one_logit
        self.choose_by = checked_choice(choose_by, self.chosen_by)
        self.spec = spec
        self.class_names = spec.classes
        self.ignore_index = spec.ignore_index
        self._source = source
        self._model = model
        self._views = views
        self._supervised_loss = supervised_loss

    @cached_property
    def source(self) -> Any:
        """The data, read on first use."""
        return self._source()

    def training(self, samples: Samples, seed: int, *, labelled: bool) -> TrainingSamples:
        """A training set of samples of the source, under weak augmentation."""
        raise NotImplementedError

    def labelled(self, seed: int) -> Dataset[Batch]:
        return self.training(self.source.labelled, seed, labelled=True)

    def unlabelled(self, seed: int) -> Dataset[Batch]:
        return self.training(self.source.unlabelled, seed, labelled=False)

    def targets(self, subset: str) -> tuple[int, Callable[[int], Tensor]]:
        samples: Any = self.source.labelled if subset == "labelled" else self.source.validation

        def read(index: int) -> Tensor:
            mask = samples.mask(index) if hasattr(samples, "mask") else samples[index].mask
            if mask is None:
                raise DataError(f"{subset} set: sample {index} has no mask; it needs one")
            return mask  # type: ignore[no-any-return]

        return len(samples), read

    def settled(self) -> dict[str, Any]:
        return settled_model(self._model)

    def build_model(self) -> nn.Module:
        classes = 1 if self.one_logit else self.num_classes
        network = self.around(built_network(self._model, classes, self.network_example()))
        return two_class_network(network, several=False) if self.one_logit else network

    def network_example(self) -> Tensor:
        """An input of the network that the configuration names; here of the task."""
        return self.example()

    def around(self, network: nn.Module) -> nn.Module:
        """What a task puts around the network that the configuration names; here nothing."""
        return network

    def view(self, inputs: Tensor, kind: str) -> Tensor:
        return self._views(inputs, kind)

    def supervised_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        return self._supervised_loss(logits, target, self.ignore_index)

    def metric(self) -> Any:
        confusion = Confusion(self.num_classes, ignore_index=self.ignore_index)
        return with_criteria(confusion, self.num_classes)

    def summary(self, computed: Any) -> dict[str, float]:
        """``miou``, over ``classes_in_miou`` classes where not all occur, ``pixel_accuracy``, ``iou/NAME``."""
        confusion, criteria = criteria_apart(computed)
        iou = intersection_over_union(confusion)
        seen = ~iou.isnan()
        metrics = {"miou": 100 * iou[seen].mean().item()}
        if not seen.all():  # a mean over fewer classes is another metric
            metrics["classes_in_miou"] = float(seen.sum().item())
        metrics["pixel_accuracy"] = 100 * (confusion.diagonal().sum() / confusion.sum()).item()
        metrics |= criteria
        named = zip(self.class_names, iou.tolist(), seen.tolist(), strict=True)
        return metrics | {f"iou/{name}": 100 * value for name, value, occurs in named if occurs}


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


def dice(confusion: Tensor) -> Tensor:
    """Dice coefficient of each class, which is its F1; as :func:`intersection_over_union` otherwise.

    Example:
        >>> import torch
        >>> dice(torch.tensor([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))
        tensor([0.8571, 0.8889,    nan], dtype=torch.float64)
    """
    counts = confusion.double()
    return 2 * counts.diagonal(dim1=-2, dim2=-1) / (counts.sum(-1) + counts.sum(-2))
