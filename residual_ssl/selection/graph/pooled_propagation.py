"""Predictions pooled with labels that spread over a graph of features, before another selector judges them."""

from __future__ import annotations

import torch
from torch import Tensor

from residual_ssl.runtime.arguments import Share, checked
from residual_ssl.selection.graph.label_propagation import LabelPropagation
from residual_ssl.selection.needs import Needs
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector
from residual_ssl.selection.wrapper import WrapperSelector


class PooledPropagation(WrapperSelector):
    """Pool each prediction with what labels spread over a graph of features say, then let another selector judge.

    Two opinions that err differently: the network's, which learns from its own pseudo-labels, and that of the graph,
    which never does. In the graph each class has one total, so that rare classes are raised, and a point that is near
    no labelled one is told by it to be of any class.

    Formula: ``p ← p^(1-β) z^β``, made to sum to 1, ``z_k = Q_k / Σ_i Q_ik`` of :class:`LabelPropagation`; β = .5. It
    is the optimum of the convex program ``min_q (1-β) KL(q‖p) + β KL(q‖z)``.

    State: that of the graph, from :meth:`fit_pool`, and of the selector inside.

    Cost: a matrix product of the batch with the nodes, three passes; seconds to fit.

    Use: dense prediction on features of a frozen network, few labels; where mean IoU or balanced accuracy counts.

    Source: the logarithmic opinion pool, C. Genest and J. V. Zidek, Statistical Science 1986, §3; its use on
    pseudo-labels is this library's own.

    Args:
        rule: selector that judges the pooled prediction; what it learns from labels it learns from predictions alone.
        graph: gives Q; its ``keep`` has no effect.
        share: β in [0, 1].

    Raises:
        NotFittedError: use before :meth:`fit_pool`.

    Example:
        >>> import torch
        >>> from residual_ssl import FixedThreshold
        >>> labelled, pool = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.1], [0.1, 1.0]])
        >>> selector = PooledPropagation(FixedThreshold(0.5), LabelPropagation(neighbours=1))
        >>> selector = selector.fit_pool(labelled, torch.tensor([0, 1]), pool, 2)
        >>> selector(torch.tensor([[0.0, 1.0], [0.0, 1.0]]), features=pool).label  # both are class 1 before
        tensor([0, 1])
    """

    rule: Selector
    graph: LabelPropagation

    @checked
    def __init__(self, rule: Selector, graph: LabelPropagation, share: Share = 0.5) -> None:
        super().__init__("rule", rule)
        self.graph = graph
        self.share = share
        self.evidence = tuple(dict.fromkeys(("features", *rule.evidence)))

    @property
    def needs(self) -> Needs:
        inner = super().needs
        return Needs(self.evidence, inner.labels, inner.fit, True, inner.schedule)

    @property
    def fitted(self) -> bool:
        """Whether :meth:`fit_pool` was called or a fitted state loaded."""
        return self.graph.fitted

    def require_fitted(self) -> None:
        self.graph.require_fitted()

    def fit_pool(
        self, features: Tensor, labels: Tensor, pool: Tensor, num_classes: int, *, ignore_index: int = 255
    ) -> PooledPropagation:
        self.graph.fit_pool(features, labels, pool, num_classes, ignore_index=ignore_index)
        super().fit_pool(features, labels, pool, num_classes, ignore_index=ignore_index)
        return self

    def forward(self, logits: Tensor, valid: Tensor | None = None, **evidence: Tensor) -> Selection:
        asked = {name: value for name, value in evidence.items() if name in self.rule.evidence}
        chosen: Selection = self.rule(self._pooled(logits, **evidence), valid, **asked)
        return chosen

    def _pooled(self, logits: Tensor, *, features: Tensor, **_: Tensor) -> Tensor:
        told = self.graph.propagated_at(features, logits).log()
        precise = torch.promote_types(logits.dtype, told.dtype)
        return (1 - self.share) * logits.detach().to(precise) + self.share * told.to(precise)

    def extra_repr(self) -> str:
        return f"share={self.share}"
