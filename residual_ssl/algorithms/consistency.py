"""Supervised, FixMatch, UniMatch and CSL as one: pseudo-labels of the plain view teach perturbed views."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from residual_ssl.algorithms.algorithm import Algorithm, StepOutput
from residual_ssl.ema import EMATeacher
from residual_ssl.errors import ConfigError
from residual_ssl.losses import selected_cross_entropy
from residual_ssl.masking import TrustedMask
from residual_ssl.perturbations import CutMix, FeatureDropout
from residual_ssl.selection import Selection, Selector
from residual_ssl.task import Batch, Task


class InputBranch(nn.Module):
    """A perturbed view of the input that must agree with the pseudo-labels.

    Args:
        weight: factor of its loss term.
        view: view of the task (see :meth:`residual_ssl.Task.view`).
        mix: CutMix with the neighbour in the batch, of inputs and labels.
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
    ) -> None:
        super().__init__()
        self.weight = weight
        self.view = view
        self.mix = mix
        self.mask = mask
        self.masked_view = masked_view

    def forward(self, task: Task, inputs: Tensor, selection: Selection) -> tuple[Tensor, Selection]:
        """The model's input and the selection that it is to agree with."""
        x = task.view(inputs, self.view)
        if self.mask is not None:
            samples = self.mask.draw_samples(len(x), x.device)
            light = task.view(inputs, self.masked_view)
            x = torch.where(samples.reshape(-1, *[1] * (x.dim() - 1)), light, x)
            x, _ = self.mask(x, selection.trusted, samples)
        if self.mix is not None:
            box = self.mix(len(x), tuple(x.shape[2:]), x.device)
            partners = self.mix.partners(len(x), x.device)
            x = torch.where(box.unsqueeze(1), x[partners], x)
            selection = selection.mixed(selection.map(lambda points: points[partners]), box)
        return x, selection


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


class ConsistencyAlgorithm(Algorithm):
    """Consistency with selected pseudo-labels, from any number of branches.

    The labelled batch and the plain view of the unlabelled batch go through the student together. The teacher's
    logits on the plain view, detached, are judged by the selector; each branch is then taught by the selected labels::

        L = w_x · L_x + Σ_branches w_b · Σ w·CE / #valid

    BatchNorm's running statistics follow the first pass alone and not the perturbed views.

    Args:
        selector: the selection rule; None only without branches.
        branches: InputBranch or FeatureBranch by name; at most one FeatureBranch. None or empty: supervised training.
        labelled_weight: w_x.
        ema_decay: None: the student teaches itself. A decay: an :class:`EMATeacher` teaches, and is what is evaluated.

    Published settings are configurations: supervised (no branches), FixMatch (one strong branch), UniMatch (two strong
    branches and feature dropout), CSL (strong, masked, feature dropout).

    Raises:
        ConfigError: branches without a selector, or more than one FeatureBranch.

    Source: FixMatch, arXiv 2001.07685; UniMatch, arXiv 2208.09910, eq. 6; CSL, arXiv 2509.16704, eq. 9.
    """

    def __init__(
        self,
        selector: Selector | None = None,
        branches: Mapping[str, InputBranch | FeatureBranch] | None = None,
        labelled_weight: float = 1.0,
        ema_decay: float | None = None,
    ) -> None:
        super().__init__()
        branches = dict(branches or {})
        feature = [name for name, branch in branches.items() if isinstance(branch, FeatureBranch)]
        if len(feature) > 1:
            raise ConfigError(f"algorithm.branches: got feature branches {', '.join(feature)}, expected at most one")
        if branches and selector is None:
            raise ConfigError("algorithm.selector: got none for an algorithm with branches; choose one, selector=csl")
        self.selector = selector if branches else None
        self.branches = nn.ModuleDict(branches)
        self.feature = feature[0] if feature else None
        self.labelled_weight = labelled_weight
        self.ema_decay = ema_decay
        self.teacher: EMATeacher | None = None
        self.needs_unlabelled = bool(branches)

    def attach(self, model: nn.Module) -> None:
        if self.ema_decay is not None:
            self.teacher = EMATeacher(model, self.ema_decay)

    def step(self, model: nn.Module, task: Task, labelled: Batch, unlabelled: Batch | None) -> StepOutput:
        x = task.view(labelled["input"], "labelled")
        if unlabelled is None or not self.branches:
            loss = task.supervised_loss(model(x), labelled["target"])
            return StepOutput(self.labelled_weight * loss, {"labelled": loss.detach()})

        plain = task.view(unlabelled["input"], "plain")
        start = len(x)
        both = torch.cat([x, plain])
        if self.feature is None:
            logits, perturbed = model(both), None
        else:
            logits, perturbed = model(both, self._branch(self.feature).perturbation, start)
        taught = logits[start:].detach() if self.teacher is None else self.teacher(plain)
        assert self.selector is not None
        with torch.no_grad():
            selection = self.selector(taught, unlabelled.get("valid"))

        terms = {"labelled": task.supervised_loss(logits[:start], labelled["target"])}
        if perturbed is not None and self.feature is not None:
            terms[self.feature] = selected_cross_entropy(perturbed, selection)
        terms.update(self._input_terms(model, task, unlabelled["input"], selection))
        loss = self.labelled_weight * terms["labelled"]
        for name in self.branches:
            loss = loss + self._branch(name).weight * terms[name]
        return StepOutput(loss, {name: term.detach() for name, term in terms.items()}, selection)

    def _input_terms(self, model: nn.Module, task: Task, inputs: Tensor, selection: Selection) -> dict[str, Tensor]:
        names = [name for name in self.branches if name != self.feature]
        if not names:
            return {}
        views, selections = zip(*(self._branch(name)(task, inputs, selection) for name in names), strict=True)
        with frozen_running_statistics(model):
            predictions = model(torch.cat(views)).chunk(len(names))
        return {
            name: selected_cross_entropy(prediction, chosen)
            for name, prediction, chosen in zip(names, predictions, selections, strict=True)
        }

    def _branch(self, name: str) -> InputBranch | FeatureBranch:
        return self.branches[name]  # type: ignore[return-value]

    def after_step(self, model: nn.Module) -> None:
        if self.teacher is not None:
            self.teacher.update(model)

    def evaluated(self, model: nn.Module) -> nn.Module:
        return model if self.teacher is None else self.teacher.model


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
