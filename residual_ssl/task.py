"""The interface that a task implements: data, model, views, loss, metric. It knows no algorithm and no selector."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import PIL.Image
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from residual_ssl.errors import ResidualSSLError
from residual_ssl.losses import labelled_cross_entropy
from residual_ssl.selection import Selection

Batch = dict[str, Tensor]


class Task(ABC):
    """What is learned, from which data, by which kind of model, and how it is judged.

    A sample of the datasets is a dict of tensors of equal shapes across samples, which the default collation stacks:

    - ``input``: what :meth:`view` turns into the model's input, weakly augmented in the training sets;
    - ``target``: class ids or ``ignore_index``, int64 ``(*S)``; in the labelled and validation sets;
    - ``valid``: bool ``(*S)``, False at padding; in the unlabelled set, optional;
    - ``truth``: as ``target``, in the unlabelled set where labels happen to be known, and -1 at points that belong to
        none of the classes. It feeds diagnostics and never a loss;
    - ``stored``: float32 ``(2, *S)``, class ids and weights in [0, 1] of pseudo-labels made beforehand, in the
      unlabelled set of a labelled pool.

    The training sets are indexed by ``(index, draw)``: ``draw`` is the place of the sample in the whole run and seeds
    its augmentation, so that a run is the same for any number of workers and continues exactly after a stop.

    Attributes:
        class_names: names of the K classes, in the order of the logits.
        ignore_index: target id of points without a label.
        main_metric: key of :meth:`summary` that the task is judged by; larger is better.
        choose_by: key of :meth:`summary` that picks the best checkpoint; larger is better. None: ``main_metric``. For a
            target domain without labels: a criterion that looks at none.
        input_suffixes: endings of files that :meth:`read` takes, in lower case with the dot.
        tiled: whether large inputs may be predicted in parts; False where the model sees every input at one size.
    """

    class_names: tuple[str, ...]
    ignore_index: int
    main_metric: str
    choose_by: str | None = None
    input_suffixes: tuple[str, ...] = ()
    tiled: bool = True

    @property
    def num_classes(self) -> int:
        """Number of classes K."""
        return len(self.class_names)

    @abstractmethod
    def labelled(self, seed: int) -> Dataset[Batch]:
        """Training set with targets; ``seed`` and the draw fix the augmentation."""

    @abstractmethod
    def unlabelled(self, seed: int) -> Dataset[Batch]:
        """Training set without targets."""

    @abstractmethod
    def validation(self) -> Dataset[Batch]:
        """Validation set with targets, indexed by int, not augmented."""

    def targets(self, subset: str) -> tuple[int, Callable[[int], Tensor]]:
        """How many samples ``"labelled"`` or ``"validation"`` has, and a function from the index to the target of one.

        For checks before training. A task overrides it where targets can be read without inputs or augmentation.
        """
        data: Any = self.labelled(0) if subset == "labelled" else self.validation()
        return len(data), lambda index: data[(index, 0) if subset == "labelled" else index]["target"]

    def settled(self) -> Mapping[str, Any]:
        """Arguments of the task that were left open and follow from the training data, or from files, as plain values.

        A new run stores them in its configuration before anything else is built, so that it predicts, continues and
        travels without them: statistics of the images, the architecture of a network that was named by its weights.
        Mappings are merged into the arguments of components. The same on every process.
        """
        return {}

    def remarks(self) -> list[str]:
        """Settings that do not fit the data, a line each: a new run warns of them before its first step."""
        return []

    @abstractmethod
    def build_model(self) -> nn.Module:
        """A new model for ``num_classes`` classes.

        Any module that maps inputs to logits ``(B, K, *S)``; for algorithms that perturb features a
        :class:`~residual_ssl.models.EncoderDecoder`.
        """

    @abstractmethod
    def view(self, inputs: Tensor, kind: str) -> Tensor:
        """Model input made of dataset inputs ``(B, …)``.

        ``"plain"`` only normalises; ``"labelled"``, ``"strong"`` and ``"light"`` perturb first, each sample by itself,
        and move no point: labels of the plain view hold for all of them.
        """

    def features(self, inputs: Tensor) -> Tensor | None:
        """What describes the points of dataset inputs ``(B, …)`` beside any prediction, ``(B, D, *S)``; None: nothing.

        For selectors that judge by it: features of a frozen network, the columns of a table.
        """
        return None

    def supervised_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss of the labelled batch: cross-entropy over the points with a label."""
        return labelled_cross_entropy(logits, target, self.ignore_index)

    @torch.no_grad()
    def predict(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """Logits for dataset inputs ``(B, …)`` in evaluation, ``(B, K, *S)``.

        A task that averages probabilities returns their logarithms, which are logits of the averages.
        """
        return model(self.view(inputs, "plain"))  # type: ignore[no-any-return]

    @abstractmethod
    def metric(self) -> Any:
        """A new torchmetrics metric with ``update(logits, target)`` and ``compute()``."""

    @abstractmethod
    def summary(self, computed: Any) -> dict[str, float]:
        """Named metrics of a computed metric, ``main_metric`` among them, in per cent."""

    def read(self, path: Path) -> Tensor:
        """A dataset input, without the batch dimension, from a user's own file."""
        raise ResidualSSLError(f"task: {type(self).__name__} reads no files; call its model on tensors instead")

    def read_all(self, path: Path) -> Iterator[tuple[str, Tensor]]:
        """All inputs that a file holds, each with an ending for its name: one, without an ending, unless overridden."""
        yield "", self.read(path)

    def example(self) -> Tensor:
        """A dataset input, without the batch dimension, of a size that the network was trained on."""
        raise ResidualSSLError(f"task: {type(self).__name__} names no example input to export with")

    def metadata(self) -> dict[str, object]:
        """What travels with an exported network, as values that JSON can hold."""
        return {"classes": list(self.class_names)}

    def pictures(self, sample: Tensor, label: Tensor, selection: Selection) -> dict[str, PIL.Image.Image]:
        """What a person looks at, by kind: an input, its predicted labels ``(*S)``, a selection of batch size 1."""
        raise ResidualSSLError(f"task: {type(self).__name__} draws no pictures")
