"""Consistency with labels that are propagated along correlation maps."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from residual_ssl.algorithms.algorithm import StepOutput
from residual_ssl.algorithms.branches import Branch, frozen_running_statistics
from residual_ssl.algorithms.views.contrast import at_grid
from residual_ssl.algorithms.views.correlation import Correlated, grown, segments_of
from residual_ssl.algorithms.views.projecting import ProjectingConsistency
from residual_ssl.losses import selected_cross_entropy
from residual_ssl.runtime.arguments import Count, NotNegative, Share, checked
from residual_ssl.selection import Selection, Selector
from residual_ssl.task import Batch, Task


class CorrelationConsistency(ProjectingConsistency):
    """A :class:`ConsistencyAlgorithm` with propagation of labels along correlation maps.

    Pixel propagation: the network's logits, spread along the map of its features, are taught by the labels of the
    labelled batch and by the pseudo-labels, so that the map learns what is alike. Region propagation: where nearly all
    of a region of the map is trusted and of one class, all of it gets this class, for every branch. It takes one more
    pass of the student over the labelled and the plain view::

        L = L_consistency + w_l · L(propagated, labels) + w_u · L(propagated, pseudo-labels)

    Args:
        selector, branches, labelled_weight: as of :class:`ConsistencyAlgorithm`; no branch that perturbs features.
        propagated_labelled, propagated_unlabelled: w_l and w_u.
        segments: regions that are looked at in each sample.
        agreement: share of a region that must be trusted, and of that which must be of one class.
        hidden: channels of the projection.

    Raises:
        ConfigError: what :class:`ProjectingConsistency` refuses.

    Source: CorrMatch, arXiv 2306.04300, §3.2 and 3.3.
    """

    @checked
    def __init__(
        self,
        selector: Selector,
        branches: Mapping[str, Branch],
        labelled_weight: float = 1.0,
        propagated_labelled: NotNegative = 0.25,
        propagated_unlabelled: NotNegative = 0.125,
        segments: Count = 128,
        agreement: Share = 0.85,
        hidden: Count = 256,
    ) -> None:
        super().__init__(selector, branches, labelled_weight)
        self.propagated_labelled = propagated_labelled
        self.propagated_unlabelled = propagated_unlabelled
        self.segments = segments
        self.agreement = agreement
        self.hidden = hidden
        self._alike: Tensor | None = None  # regions of the step at hand

    def around(self, network: nn.Module, channels: int, num_classes: int) -> nn.Module:
        return Correlated(network, channels, num_classes, self.hidden)

    def step(self, model: nn.Module, task: Task, labelled: Batch, unlabelled: Batch | None) -> StepOutput:
        assert unlabelled is not None
        x = task.view(labelled["input"], "labelled")
        with frozen_running_statistics(model):
            both = torch.cat([x, task.view(unlabelled["input"], "plain")])
            logits, spread, correlation = model(both, correlated=True)
        grid, size = tuple(spread.shape[2:]), tuple(logits.shape[2:])
        if grid:
            self._alike = segments_of(correlation[len(x) :], grid, size, self.segments)
        output = super().step(model, task, labelled, unlabelled)
        self._alike = None
        assert output.selection is not None
        on_grid = output.selection.map(lambda points: at_grid(points, grid))
        terms = {
            "propagated_labelled": task.supervised_loss(spread[: len(x)], at_grid(labelled["target"], grid)),
            "propagated_unlabelled": selected_cross_entropy(spread[len(x) :], on_grid),
        }
        loss = output.loss + self.propagated_labelled * terms["propagated_labelled"]
        loss = loss + self.propagated_unlabelled * terms["propagated_unlabelled"]
        told = {name: term.detach() for name, term in terms.items()}
        return StepOutput(loss, {**output.terms, **told}, output.selection)

    def _select(self, task: Task, plain: Tensor, students: Tensor, unlabelled: Batch) -> tuple[Selection, Tensor]:
        chosen, teaching = super()._select(task, plain, students, unlabelled)
        if self._alike is not None:
            chosen = grown(chosen, self._alike, self.agreement, task.num_classes)
        return chosen, teaching
