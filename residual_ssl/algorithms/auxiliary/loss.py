"""The interface of auxiliary losses: further terms of an algorithm, and heads on the student's features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import isfinite
from typing import NamedTuple

import torch
from torch import Tensor, nn

from residual_ssl.algorithms.auxiliary.network import PointLayer
from residual_ssl.errors import ConfigError
from residual_ssl.runtime.global_batch import mean_count
from residual_ssl.selection import Selection
from residual_ssl.selection.points.memory import Memory


class Prediction(NamedTuple):
    """What the student predicts of one view.

    Attributes:
        logits: ``(B, K, *S)``.
        head: output of the loss's own head, ``(B, C, *S)``; empty ``(B, 0, *S)`` for a loss without one.
    """

    logits: Tensor
    head: Tensor


@dataclass(frozen=True)
class Seen:
    """What a step gives to an auxiliary loss.

    Attributes:
        target: class ids of the labelled batch ``(B, *S)``, or ``ignore_index``.
        ignore_index: target of points without a label.
        labelled: the student's prediction of the labelled view, with gradient.
        plain: that of the plain view of the unlabelled batch; None for a loss that needs none.
        shown: that of each of the views that the loss asked for.
        teaching: logits on the plain view that pseudo-labels come from, without gradient; None as ``plain``.
        selection: pseudo-labels of the plain view; None for an algorithm without a selector.
        valid: bool ``(B, *S)`` of the unlabelled batch; None where all points are.
        index: place of each sample in its training set, int64 ``(B,)``, of the labelled and of the unlabelled batch;
            None where not asked for.
    """

    target: Tensor
    ignore_index: int
    labelled: Prediction
    plain: Prediction | None = None
    shown: tuple[Prediction, ...] = ()
    teaching: Tensor | None = None
    selection: Selection | None = None
    valid: Tensor | None = None
    index: tuple[Tensor | None, Tensor | None] = (None, None)


class AuxiliaryLoss(Memory, ABC):
    """Terms of an algorithm beside its branches, from all that a step predicts, and a head of their own.

    A branch is one term that pseudo-labels teach on one view. What needs more is one of these: a detector of unknown
    classes, a second classifier, targets remembered from earlier epochs. It overrides :meth:`terms`, and of the rest
    what it needs. Buffers are kept in checkpoints; those in :attr:`sized_by_data` take the size of what is loaded.

    Args:
        weights: factor of each term in the loss, by name.

    Attributes:
        needs_unlabelled: False where it looks at the labelled batch alone.
        needs_index: True where it must know which samples it sees.
        views: views of the unlabelled batch that the student predicts for it (see :meth:`residual_ssl.Task.view`), in
            one pass with those of the branches.

    Raises:
        ConfigError: a weight that is no finite number ≥ 0.
    """

    needs_unlabelled: bool = True
    needs_index: bool = False
    views: tuple[str, ...] = ()
    done: Tensor
    steps: Tensor

    def __init__(self, **weights: float) -> None:
        super().__init__()
        for name, weight in weights.items():
            if not (isfinite(weight) and weight >= 0):
                raise ConfigError(f"{type(self).__name__}: got {name} weight {weight}, expected a finite number ≥ 0")
        self.weights = weights
        self.register_buffer("done", torch.zeros((), dtype=torch.int64))
        self.register_buffer("steps", torch.ones((), dtype=torch.int64))

    @property
    def progress(self) -> Tensor:
        """Share of the run's steps that are done, in [0, 1]: scalar."""
        return self.done / self.steps

    def on_train_start(self, total_steps: int) -> None:
        """Called once before the first step of a new run; not when one is continued."""
        self.done.zero_()
        self.steps.fill_(total_steps)

    def make_head(self, width: int, num_classes: int, layer: PointLayer) -> nn.Module | None:
        """The head: a module from features ``(B, width, *s)`` to ``(B, C, *s)``; None for none.

        Args:
            width: of the features that the classifier sees.
            num_classes: K.
            layer: makes a linear layer for each point of this network's features.
        """
        return None

    def prepare(self, num_classes: int, labelled: int, unlabelled: int) -> None:
        """Called once before a new run, with K and the numbers of samples; 0 where a set is not read."""

    def select(self, selection: Selection, prediction: Prediction) -> Selection:
        """What the loss thinks of the pseudo-labels, on the prediction that they come from; here nothing."""
        return selection

    def taught(self, prediction: Prediction) -> Tensor:
        """The logits ``(B, K, *S)`` that branches teach; here the classifier's."""
        return prediction.logits

    @abstractmethod
    def terms(self, seen: Seen) -> dict[str, Tensor]:
        """Scalars by the names of ``weights``."""

    def outlier_score(self, prediction: Prediction) -> Tensor | None:
        """How surely a point is of none of the classes, ``(B, *S)``, larger is surer; None where it does not know."""
        return None

    def after_step(self, head: nn.Module | None) -> None:
        """Called with the student's head after each optimiser step."""
        self.done.add_(1)


def mean_over(values: Tensor, points: Tensor | None) -> Tensor:
    """Mean of values ``(B, *S)`` over the points where bool ``points`` is True, all for None; 0 where there is none.

    Points are counted over all processes, as for every loss of the library.

    Example:
        >>> mean_over(torch.tensor([1.0, 2.0, 6.0]), torch.tensor([True, False, True]))
        tensor(3.5000)
    """
    if points is None:
        points = torch.ones_like(values, dtype=torch.bool)
    return values.where(points, 0.0).sum() / mean_count(points.sum())
