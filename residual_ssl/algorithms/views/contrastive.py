"""Consistency with contrast: what unreliable points are not is learned in the space of features."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from residual_ssl.algorithms.algorithm import StepOutput
from residual_ssl.algorithms.branches import Branch, frozen_running_statistics
from residual_ssl.algorithms.views.contrast import (
    ContrastiveMemory,
    LabelledPoints,
    Projected,
    at_grid,
)
from residual_ssl.algorithms.views.projecting import ProjectingConsistency
from residual_ssl.runtime.arguments import Count, NotNegative, Positive, Share, checked
from residual_ssl.selection import Selection, Selector
from residual_ssl.task import Batch, Task


class ContrastiveConsistency(ProjectingConsistency):
    """A :class:`ConsistencyAlgorithm` with an EMA teacher, and a contrast of features beside its branches.

    The network's highest features are projected; their contrast with a memory of negatives, see
    :class:`ContrastiveMemory`, is one more term. A point is reliable where the selector trusts it, and unreliable where
    it is valid and not trusted. It takes one more pass of student and teacher, over the labelled and the plain view.

    Args:
        selector, branches, labelled_weight: as of :class:`ConsistencyAlgorithm`; no branch that perturbs features.
        ema_decay: of the teacher.
        weight: of the contrast.
        dim: length of the projected features.
        ranks, size, temperature, certain: of the :class:`ContrastiveMemory`.

    Raises:
        ConfigError: no selector; what :class:`ProjectingConsistency` refuses.

    Source: U2PL, arXiv 2203.03884, eq. 2 and 5.
    """

    @checked
    def __init__(
        self,
        selector: Selector,
        branches: Mapping[str, Branch],
        labelled_weight: float = 1.0,
        ema_decay: float = 0.99,
        weight: NotNegative = 1.0,
        dim: Count = 256,
        ranks: tuple[int, int] = (3, 20),
        size: Count = 2048,
        temperature: Positive = 0.5,
        certain: Share = 0.3,
    ) -> None:
        super().__init__(selector, branches, labelled_weight, ema_decay)
        self.weight = weight
        self.dim = dim
        self._memory = {"ranks": ranks, "size": size, "temperature": temperature, "certain": certain}
        self.memory: ContrastiveMemory | None = None

    def around(self, network: nn.Module, channels: int, num_classes: int) -> nn.Module:
        self.memory = ContrastiveMemory(num_classes, self.dim, **self._memory)  # type: ignore[arg-type]
        return Projected(network, channels, self.dim)

    def step(self, model: nn.Module, task: Task, labelled: Batch, unlabelled: Batch | None) -> StepOutput:
        output = super().step(model, task, labelled, unlabelled)
        if unlabelled is None or output.selection is None:
            return output
        x = torch.cat([task.view(labelled["input"], "labelled"), task.view(unlabelled["input"], "plain")])
        contrast = self._contrast(model, x, labelled["target"], output.selection, task.ignore_index)
        terms = {**output.terms, "contrast": contrast.detach()}
        return StepOutput(output.loss + self.weight * contrast, terms, output.selection)

    def _contrast(self, model: nn.Module, x: Tensor, target: Tensor, selection: Selection, ignore_index: int) -> Tensor:
        assert self.teacher is not None
        assert self.memory is not None
        with frozen_running_statistics(model):
            _, z = model(x, projected=True)
        with torch.no_grad():
            logits, teachers = self.teacher(x, projected=True)
        grid = tuple(z.shape[2:])
        known = target != ignore_index
        none = torch.zeros_like(known)
        points = LabelledPoints(
            torch.cat([target.where(known, 0), selection.label]),
            torch.cat([known, torch.zeros_like(selection.trusted)]),
            torch.cat([none, selection.trusted]),
            torch.cat([none, selection.valid & ~selection.trusted]),
        )
        flat = LabelledPoints(*(at_grid(part, grid).flatten() for part in points))
        probability = at_grid(logits, grid).softmax(1)
        with torch.autocast(x.device.type, enabled=False):
            return self.memory(rows(z.float()), rows(teachers.float()), rows(probability.float()), flat)  # type: ignore[no-any-return]


def rows(features: Tensor) -> Tensor:
    """Features ``(B, D, *s)`` as ``(B·s, D)``."""
    return features.movedim(1, -1).flatten(0, -2)
