"""Branches of a consistency loss: views and features that must agree with selected pseudo-labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from residual_ssl.errors import ConfigError
from residual_ssl.losses import selected_cross_entropy
from residual_ssl.models.encoder_decoder import EncoderDecoder
from residual_ssl.perturbations import ClassMix, CutMix
from residual_ssl.perturbations.trusted_mask import TrustedMask
from residual_ssl.selection import Selection
from residual_ssl.task import Batch, Task


class Branch(nn.Module, ABC):
    """One term of the loss on the unlabelled batch: what the student predicts for it, and what that must agree with.

    A new kind of branch overrides :meth:`term`, and one of the others where it does not judge the plain view.

    Args:
        weight: factor of its term.
        perturbation: of the encoder's features of the plain view, each map to the same shape; None: features as they
            are. At most one branch of an algorithm may have one, as they are perturbed in one pass.

    Attributes:
        needs_selection: False where :meth:`term` does without pseudo-labels.
    """

    needs_selection: bool = True

    def __init__(self, weight: float, perturbation: nn.Module | None = None) -> None:
        super().__init__()
        self.weight = weight
        self.perturbation = perturbation

    def shown(
        self, task: Task, inputs: Tensor, selection: Selection | None, labelled: Batch | None = None
    ) -> tuple[Tensor, Selection | None] | None:
        """A model's input of its own with the selection of it; None for the plain view and ``selection``.

        Args:
            task: makes views.
            inputs: dataset inputs of the unlabelled batch ``(B, …)``.
            selection: pseudo-labels of the plain view; None for an algorithm without a selector.
            labelled: the labelled batch.
        """
        return None

    @abstractmethod
    def term(self, logits: Tensor, selection: Selection | None, valid: Tensor | None) -> Tensor:
        """The loss, a scalar.

        Args:
            logits: ``(B, K, *S)``, the student's, of what is shown or of the plain view.
            selection: of what is shown; None for an algorithm without a selector.
            valid: bool ``(B, *S)`` of the unlabelled batch, None where all points are valid.
        """


class InputBranch(Branch):
    """A perturbed view of the input that must agree with the pseudo-labels.

    Args:
        weight: factor of its loss term.
        loss: ``loss(logits, selection)``, a scalar.
        paste: ClassMix of the labelled batch onto the inputs, with its labels, before any view is made.
        view: view of the task (see :meth:`residual_ssl.Task.view`).
        mix: CutMix with the neighbour in the batch, of inputs and labels (see :meth:`Selection.mixed`).
        mask: TrustedMask; its samples show ``masked_view``, the others ``view``.
        masked_view: view of the masked samples.
    """

    def __init__(
        self,
        weight: float,
        view: str = "strong",
        mix: CutMix | None = None,
        mask: TrustedMask | None = None,
        masked_view: str = "light",
        loss: Callable[[Tensor, Selection], Tensor] = selected_cross_entropy,
        paste: ClassMix | None = None,
    ) -> None:
        super().__init__(weight)
        self.paste = paste
        self.loss = loss
        self.view = view
        self.mix = mix
        self.mask = mask
        self.masked_view = masked_view

    def shown(
        self, task: Task, inputs: Tensor, selection: Selection | None, labelled: Batch | None = None
    ) -> tuple[Tensor, Selection]:
        """The perturbed view, and the selection with what is pasted and mixed into it."""
        assert selection is not None
        inputs, (selection,) = self.pasted(task, inputs, (selection,), labelled)
        x, box = self.show(task, inputs, task.trusted_places(selection.trusted))
        return x, self.mixed(selection, box, task.num_classes)

    def term(self, logits: Tensor, selection: Selection | None, valid: Tensor | None) -> Tensor:
        assert selection is not None
        return self.loss(logits, selection)

    def pasted(
        self, task: Task, inputs: Tensor, selections: Sequence[Selection], labelled: Batch | None
    ) -> tuple[Tensor, Sequence[Selection]]:
        """The inputs with parts of the labelled batch, and the selections with their labels; all as it is without."""
        if self.paste is None or labelled is None:
            return inputs, selections
        target = labelled["target"]
        partners, where = self.paste(target, task.num_classes, task.ignore_index, len(inputs))
        values = None if "values" not in labelled else labelled["values"][partners]
        places = task.trusted_places(where)
        if places.dim() != inputs.dim() - 1:
            raise ConfigError(
                f"algorithm: {type(self.paste).__name__} cuts classes out of samples, and a point of "
                f"{type(task).__name__} is no place of one; choose an algorithm that pastes nothing"
            )
        pasted = places.unsqueeze(1)
        inputs = torch.where(pasted, labelled["input"][partners], inputs)
        return inputs, [selection.with_labels(target[partners], where, values) for selection in selections]

    def show(self, task: Task, inputs: Tensor, trusted: Tensor) -> tuple[Tensor, Tensor | None]:
        """The model's input, and the points at which it shows the neighbour in the batch: bool; None for none."""
        x = task.view(inputs, self.view)
        if self.mask is not None:
            samples = self.mask.draw_samples(len(x), x.device)
            light = task.view(inputs, self.masked_view)
            x = torch.where(samples.reshape(-1, *[1] * (x.dim() - 1)), light, x)
            x, _ = self.mask(x, trusted, samples)
        if self.mix is None:
            return x, None
        box = self.mix(len(x), tuple(x.shape[2:]), x.device)
        return torch.where(box.unsqueeze(1), x[self.mix.partners(len(x), x.device)], x), task.at_points(box)

    def mixed(self, selection: Selection, box: Tensor | None, num_classes: int) -> Selection:
        """The selection of what :meth:`show` shows."""
        if self.mix is None or box is None:
            return selection
        partners = self.mix.partners(len(box), box.device)
        return selection.mixed(selection.map(lambda points: points[partners]), box, num_classes)


class FeatureBranch(Branch):
    """The plain view with perturbed encoder features: one more loss term at the price of a decoder pass.

    Args:
        weight: factor of its loss term.
        perturbation: applied to each feature map that the model perturbs.
    """

    def __init__(self, weight: float, perturbation: nn.Module) -> None:
        super().__init__(weight, perturbation)

    def term(self, logits: Tensor, selection: Selection | None, valid: Tensor | None) -> Tensor:
        assert selection is not None
        return selected_cross_entropy(logits, selection)


class PredictionBranch(Branch):
    """The student's own prediction of the plain view, under a loss that asks for no labels.

    Args:
        weight: factor of its loss term.
        loss: ``loss(logits, valid)``, a scalar; ``valid`` as in the unlabelled batch, None where all points are.
    """

    needs_selection = False

    def __init__(self, weight: float, loss: Callable[[Tensor, Tensor | None], Tensor]) -> None:
        super().__init__(weight)
        self.loss = loss

    def term(self, logits: Tensor, selection: Selection | None, valid: Tensor | None) -> Tensor:
        return self.loss(logits, valid)


@contextmanager
def frozen_running_statistics(model: nn.Module) -> Iterator[None]:
    """Normalise by the batch as training mode does, and leave BatchNorm's running statistics as they are."""
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.training and m.track_running_stats]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True


def check_perturbs_features(model: nn.Module) -> None:
    """Refuse a network that maps inputs to logits and offers no way to perturb its features."""
    if not isinstance(model, EncoderDecoder):
        raise ConfigError(
            f"model: {type(model).__name__} maps inputs to logits alone, and this algorithm perturbs features; give an "
            "EncoderDecoder of residual_ssl.models (SegmentationModel and ClassificationModel are), or choose an "
            "algorithm without a feature branch, algorithm=fixmatch"
        )
