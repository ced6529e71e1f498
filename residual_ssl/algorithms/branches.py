"""Branches of a consistency loss: views and features that must agree with selected pseudo-labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from residual_ssl.losses import selected_cross_entropy
from residual_ssl.masking import TrustedMask
from residual_ssl.perturbations import CutMix, FeatureDropout
from residual_ssl.selection import Selection
from residual_ssl.task import Task


class InputBranch(nn.Module):
    """A perturbed view of the input that must agree with the pseudo-labels.

    Args:
        weight: factor of its loss term.
        loss: ``loss(logits, selection)``, a scalar.
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
    ) -> None:
        super().__init__()
        self.weight = weight
        self.loss = loss
        self.view = view
        self.mix = mix
        self.mask = mask
        self.masked_view = masked_view

    def forward(self, task: Task, inputs: Tensor, selection: Selection) -> tuple[Tensor, Selection]:
        """The model's input and the selection that it is to agree with."""
        x, box = self.show(task, inputs, selection.trusted)
        return x, self.mixed(selection, box, task.num_classes)

    def show(self, task: Task, inputs: Tensor, trusted: Tensor) -> tuple[Tensor, Tensor | None]:
        """The model's input, and where it shows the neighbour in the batch: bool ``(B, H, W)``, None for nowhere."""
        x = task.view(inputs, self.view)
        if self.mask is not None:
            samples = self.mask.draw_samples(len(x), x.device)
            light = task.view(inputs, self.masked_view)
            x = torch.where(samples.reshape(-1, *[1] * (x.dim() - 1)), light, x)
            x, _ = self.mask(x, trusted, samples)
        if self.mix is None:
            return x, None
        box = self.mix(len(x), tuple(x.shape[2:]), x.device)
        return torch.where(box.unsqueeze(1), x[self.mix.partners(len(x), x.device)], x), box

    def mixed(self, selection: Selection, box: Tensor | None, num_classes: int) -> Selection:
        """The selection of what :meth:`show` shows."""
        if self.mix is None or box is None:
            return selection
        partners = self.mix.partners(len(box), box.device)
        return selection.mixed(selection.map(lambda points: points[partners]), box, num_classes)


class FeatureBranch(nn.Module):
    """The plain view with perturbed encoder features: one more loss term at the price of a decoder pass.

    Args:
        weight: factor of its loss term.
        perturbation: applied to each feature map that the model perturbs.
    """

    def __init__(self, weight: float, perturbation: FeatureDropout) -> None:
        super().__init__()
        self.weight = weight
        self.perturbation = perturbation


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
