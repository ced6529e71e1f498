"""The interface that a task implements: data, model, views, loss, metric. It knows no algorithm and no selector."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
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
    - ``values``: float32 ``(E, *S)``, in the labelled set of a task whose network predicts more of a point than its
      class. A validation sample may have further entries, which the metric is given by name;
    - ``valid``: bool ``(*S)``, False at padding; in the unlabelled set, optional;
    - ``truth``: as ``target``, in the unlabelled set where labels happen to be known, and -1 at points that belong to
        none of the classes. It feeds diagnostics and never a loss;
    - ``stored``: float32 ``(2, *S)``, class ids and weights in [0, 1] of pseudo-labels made beforehand, in the
      unlabelled set of a labelled pool;
    - ``regions``: int64 ``(*S)``, the region of each point within its sample, negative for none; in the unlabelled set
      where regions are proposed.

    The training sets are indexed by ``(index, draw)``: ``draw`` is the place of the sample in the whole run and seeds
    its augmentation, so that a run is the same for any number of workers and continues exactly after a stop.

    Attributes:
        class_names: names of the K classes, in the order of the logits.
        ignore_index: target id of points without a label.
        main_metric: key of :meth:`summary` that the task is judged by; larger is better.
        num_values: E, channels that the network gives behind the K logits: what it predicts of a point beside its
            class, such as a box.
        choose_by: key of :meth:`summary` that picks the best checkpoint; larger is better. None: ``main_metric``. For a
            target domain without labels: a criterion that looks at none.
        input_suffixes: endings of files that :meth:`read` takes, in lower case with the dot.
        every_class: whether labels of every class are expected; False where classes are bins of which many are empty.
        tiled: whether large inputs may be predicted in parts; False where the model sees every input at one size.
        tabular: whether a prediction of several points is a row of a table, as of :meth:`rows`, and no picture; one of
            a single point always is.
    """

    class_names: tuple[str, ...]
    ignore_index: int
    main_metric: str
    num_values: int = 0
    choose_by: str | None = None
    input_suffixes: tuple[str, ...] = ()
    every_class: bool = True
    tiled: bool = True
    tabular: bool = False

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

    def unlabelled_input(self, index: int) -> Tensor | None:
        """A dataset input of the unlabelled set, not augmented, as :meth:`predict` takes it; None: not known."""
        return None

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

        Any module that maps inputs to logits ``(B, K, *S)``, followed by the values of a task that has some, ``(B, K +
        E, *S)``; for algorithms that perturb features a :class:`~residual_ssl.models.EncoderDecoder`.
        """

    def parted(self, output: Tensor) -> tuple[Tensor, Tensor | None]:
        """The logits ``(B, K, *S)`` in what a network gives, and the values ``(B, E, *S)``, None for a task without."""
        if not self.num_values:
            return output, None
        return output[:, : self.num_classes], output[:, self.num_classes :]

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

    def trusted_places(self, trusted: Tensor) -> Tensor:
        """Which places of the inputs are trusted, given which points are: bool ``(B, *S)``, or ``(B,)`` of samples.

        Asked by what hides trusted parts of an input. Here a point is a place, or a sample, and stays what it is; a
        task whose points are several of one place or sample, as labels that do not exclude each other, joins them.
        """
        return trusted

    def at_points(self, places: Tensor) -> Tensor:
        """What holds at places of the inputs, bool ``(B, H, W)``, at the points: the same where a point is a place.

        Asked by what shows another input in some places. A task whose points are fewer than places looks at those.
        """
        return places

    def supervised_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss of the labelled batch: cross-entropy over the points with a label."""
        return labelled_cross_entropy(logits, target, self.ignore_index)

    def value_loss(self, values: Tensor, taught: Tensor, label: Tensor, weight: Tensor) -> Tensor:
        """What predicted values ``(B, E, *S)`` are off those that teach them, for a task that has some; a scalar.

        Args:
            values, taught: ``(B, E, *S)``, of the network, and of a label or a teacher.
            label: class ids ``(B, *S)``, or ``ignore_index``.
            weight: ``(B, *S)`` in [0, 1], of the label or of the pseudo-label; 0 where there is none.
        """
        raise NotImplementedError(f"{type(self).__name__} has num_values {self.num_values} and no value_loss")

    def labelled_loss(self, output: Tensor, labelled: Batch) -> Tensor:
        """Loss of what the network gives for the labelled batch: of the classes, and of the values where there are."""
        logits, values = self.parted(output)
        target = labelled["target"]
        loss = self.supervised_loss(logits, target)
        if values is None:
            return loss
        return loss + self.value_loss(values, labelled["values"], target, (target != self.ignore_index).float())

    def judged(
        self,
        selector: Callable[..., Selection],
        output: Tensor,
        shown: Tensor,
        valid: Tensor | None = None,
        **evidence: Tensor | None,
    ) -> Selection:
        """Pseudo-labels out of what the network gives: the selector's, with values, as :meth:`pseudo_labels` has them.

        Args:
            selector: judges the logits.
            output: ``(B, K + E, *S)``.
            shown: the view that was predicted, ``(B, …)``.
            valid, evidence: of the selector.
        """
        logits, values = self.parted(output)
        chosen = selector(logits, valid, **evidence)
        return self.pseudo_labels(chosen if values is None else replace(chosen, values=values), shown)

    def pseudo_labels(self, selection: Selection, shown: Tensor) -> Selection:
        """What a selection of the view ``shown`` teaches: itself, unless points compete with each other."""
        return selection

    @torch.no_grad()
    def predict(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """Logits for dataset inputs ``(B, …)`` in evaluation, ``(B, K, *S)``, with values behind them as in training.

        A task that averages probabilities returns their logarithms, which are logits of the averages.
        """
        return model(self.view(inputs, "plain"))  # type: ignore[no-any-return]

    @abstractmethod
    def metric(self) -> Any:
        """A new torchmetrics metric with ``update(output, target)`` and ``compute()``.

        ``update`` gets the further entries of validation samples by their names.
        """

    @abstractmethod
    def summary(self, computed: Any) -> dict[str, float]:
        """Named metrics of a computed metric, ``main_metric`` among them, in per cent."""

    def read(self, path: Path) -> Tensor:
        """A dataset input, without the batch dimension, from a user's own file."""
        raise ResidualSSLError(f"task: {type(self).__name__} reads no files; call its model on tensors instead")

    def read_all(self, path: Path) -> Iterator[tuple[str, Tensor]]:
        """All inputs that a file holds, each with an ending for its name: one, without an ending, unless overridden."""
        yield "", self.read(path)

    def rows(self, logits: Tensor, selection: Selection) -> list[dict[str, str | float]]:
        """What a table says of N predicted inputs, a row each by column: here class, confidence and trust.

        The first column is ``label``, in words.
        """
        columns = (logits.argmax(1).tolist(), selection.confidence.tolist(), selection.weight.tolist())
        return [
            {"label": self.class_names[label], "confidence": confidence, "trust": trust}
            for label, confidence, trust in zip(*columns, strict=True)
        ]

    def example(self) -> Tensor:
        """A dataset input, without the batch dimension, of a size that the network was trained on."""
        raise ResidualSSLError(f"task: {type(self).__name__} names no example input to export with")

    def metadata(self) -> dict[str, object]:
        """What travels with an exported network, as values that JSON can hold."""
        return {"classes": list(self.class_names)}

    def objects(self, label: Tensor, selection: Selection) -> list[dict[str, object]] | None:
        """What was found in an input, as values that JSON can hold: a row for each object; None for a task without.

        Args:
            label: predicted labels ``(*S)``.
            selection: of batch size 1, with the values of the prediction.
        """
        return None

    def plane(self, points: Tensor) -> Tensor:
        """Values of points ``(*S)``, or of points by class ``(K, *S)``, laid out as a picture ``(…, H, W)``.

        Here points are those of an image and stay as they are; a task of volumes lays out their slices.
        """
        return points

    def pictures(self, sample: Tensor, label: Tensor, selection: Selection) -> dict[str, PIL.Image.Image]:
        """What a person looks at, by kind: an input, its predicted labels ``(*S)``, a selection of batch size 1."""
        raise ResidualSSLError(f"task: {type(self).__name__} draws no pictures")
