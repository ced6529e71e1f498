"""Suppressed consistency: pseudo-labels of rare classes teach less, so that no bias is learned by heart."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from residual_ssl.runtime.arguments import PositiveShare, checked
from residual_ssl.selection.points.ranking import known_labels
from residual_ssl.selection.points.starts import no_counts
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector
from residual_ssl.selection.wrapper import WrapperSelector


class SuppressedConsistency(WrapperSelector):
    """Give the unlabelled loss of each class a rate of its own: full for the most frequent class, less for rarer ones.

    Formula: ``w ← w·β^(1 - N_y / max_k N_k)``, β = .5; N_k labelled points of class k seen so far, y the pseudo-label

    State: N over the points of all processes; and that of the selector inside.

    Cost: that of the selector inside, and a look-up for each point.

    Use: long-tailed classes, where consistency moves the boundary of a rare class into it.

    Source: Hyun et al., Class-Imbalanced Semi-Supervised Learning, arXiv 2002.06815, §4 (suppressed consistency loss,
    g(z) = β^(1 - z/N_max)). There N counts the labelled set; here what was seen of it, which has its proportions.

    Args:
        rule: selector that judges the prediction.
        base: β in (0, 1]; 1 for one rate.

    Example:
        >>> import torch
        >>> from residual_ssl.selection import TrustAll
        >>> selector = SuppressedConsistency(TrustAll(), base=0.5)
        >>> selector.update_from_labels(torch.zeros(5, 2), torch.tensor([0, 0, 0, 0, 1]))
        >>> selector(torch.tensor([[2.0, 0.0], [0.0, 2.0]])).weight
        tensor([1.0000, 0.5946])
    """

    rule: Selector
    counts: Tensor

    @checked
    def __init__(self, rule: Selector, base: PositiveShare = 0.5) -> None:
        super().__init__("rule", rule, learns=True)
        self.base = base
        self.add_class_state("counts", no_counts, "sum")

    def update_from_labels(self, logits: Tensor, target: Tensor, ignore_index: int = 255) -> None:
        if self.training:
            classes = logits.shape[1]
            self.size_states(classes)
            known = known_labels(target, ignore_index, classes)
            seen = torch.zeros(classes + 1, dtype=torch.int64, device=target.device)
            seen.scatter_add_(0, target.where(known, classes).flatten(), known.flatten().long())
            self.counts.add_(self.reduced("counts", seen[:-1]))
        super().update_from_labels(logits, target, ignore_index)

    def forward(self, logits: Tensor, valid: Tensor | None = None, **evidence: Tensor) -> Selection:
        chosen: Selection = self.rule(logits, valid, **evidence)
        share = self.counts / self.counts.max().clamp(min=1)
        # Before a label was seen, all classes have one rate.
        share = torch.where(self.counts.sum() > 0, share, torch.ones_like(share))
        rate = self.base ** (1 - share[chosen.label]).to(chosen.weight.dtype)
        return replace(chosen, weight=chosen.weight * rate, trusted=chosen.trusted & (rate == 1))

    def extra_repr(self) -> str:
        return f"base={self.base}"
