"""Pseudo-labels cleaned by class prototypes: what lies far from its class for this class is left out."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from residual_ssl.runtime.arguments import ShareBelowOne, checked
from residual_ssl.selection.needs import Needs
from residual_ssl.selection.prototypes.fitting import labelled_features, not_fitted, points_of
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector
from residual_ssl.selection.wrapper import WrapperSelector

_EPSILON = 1e-6


class PrototypeCleaner(WrapperSelector):
    """Leave out pseudo-labels whose features lie farther from their class's prototype than its points mostly do.

    Classes differ in how wide they are, so each has a limit of its own. Prototypes begin with the labelled points and
    follow those that are kept.

    Formula: ``w ← w·1[s ≥ μ_y - λσ_y]``, λ = 1; s the cosine of the point's centred features and the prototype of its
    label y; μ_k, σ_k mean and deviation of s over the points of class k that the selector uses

    State: mean of the features; prototypes, μ, σ² of each class, from :meth:`fit_pool`, with momentum .99 over the
    points of all processes; that of the selector inside.

    Cost: that of the selector inside, and a product of each point's features with its prototype.

    Use: noisy pseudo-labels and features of a frozen network, or columns of a table.

    Source: after Class Prototype-based label noise Cleaner, arXiv 2212.10766: its decision for each class by the
    similarity to the class's prototype. There prototypes are learned by the mixture-model split of the losses, here
    they are running means, and the limit is one of deviations.

    Args:
        rule: selector whose pseudo-labels are cleaned.
        deviations: λ; larger keeps more.
        momentum: m in [0, 1).

    Raises:
        NotFittedError: use before :meth:`fit_pool`.

    Example:
        >>> from residual_ssl.selection import TrustAll
        >>> known = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
        >>> selector = PrototypeCleaner(TrustAll(), 3).fit_pool(known, torch.tensor([0, 0, 1, 1]), known, 2).eval()
        >>> logits = torch.tensor([[2.0, 0.0], [2.0, 0.0]])
        >>> selector(logits, features=torch.tensor([[1.0, 0.05], [0.2, 0.9]])).weight
        tensor([1., 0.])
    """

    rule: Selector
    center: Tensor
    prototypes: Tensor
    mean: Tensor
    variance: Tensor

    @checked
    def __init__(self, rule: Selector, deviations: float = 1.0, momentum: ShareBelowOne = 0.99) -> None:
        super().__init__("rule", rule)
        self.deviations = deviations
        self.momentum = momentum
        for name in ("center", "prototypes", "mean", "variance"):
            self.add_state(name, torch.zeros(0), "mean")
            self.sized_by_data = (*self.sized_by_data, name)
        self.evidence = tuple(dict.fromkeys(("features", *rule.evidence)))

    @property
    def needs(self) -> Needs:
        return replace(super().needs, evidence=self.evidence, pool=True)

    @property
    def fitted(self) -> bool:
        """Whether :meth:`fit_pool` was called or a fitted state loaded."""
        return self.prototypes.numel() > 0

    def require_fitted(self) -> None:
        if not self.fitted:
            raise not_fitted("PrototypeCleaner")

    @torch.no_grad()
    def fit_pool(
        self, features: Tensor, labels: Tensor, pool: Tensor, num_classes: int, *, ignore_index: int = 255
    ) -> PrototypeCleaner:
        with torch.autocast(features.device.type, enabled=False):
            self._fit(*labelled_features(features, labels, pool, num_classes, ignore_index), num_classes)
        super().fit_pool(features, labels, pool, num_classes, ignore_index=ignore_index)
        return self

    def _fit(self, points: Tensor, known: Tensor, others: Tensor, num_classes: int) -> None:
        center = torch.cat([points, others]).mean(0)
        x = F.normalize(points - center)
        of_class = F.one_hot(known, num_classes).to(x)
        self.set_state("center", center)
        self.set_state("prototypes", F.normalize(of_class.T @ x))
        similarity = (x * self.prototypes[known]).sum(1)
        count = of_class.sum(0).clamp(min=1)
        mean = of_class.T @ similarity / count
        self.set_state("mean", mean)
        # Of a class with one labelled point nothing is known: the deviation of all stands for it.
        variance = of_class.T @ (similarity - mean[known]).square() / count
        self.set_state("variance", torch.where(count > 1, variance, variance.sum() / (count > 1).sum().clamp(min=1)))

    def forward(self, logits: Tensor, valid: Tensor | None = None, **evidence: Tensor) -> Selection:
        asked = {name: value for name, value in evidence.items() if name in self.rule.evidence}
        return self._cleaned(self.rule(logits, valid, **asked), logits, **evidence)

    def _cleaned(self, chosen: Selection, logits: Tensor, *, features: Tensor, **_: Tensor) -> Selection:
        with torch.no_grad(), torch.autocast(features.device.type, enabled=False):
            x = F.normalize(points_of(features, logits, len(self.center), len(self.prototypes)) - self.center)
            label, weight = chosen.label.flatten(), chosen.weight.flatten().to(x)
            similarity = (x * self.prototypes[label]).sum(1).to(x)
            limit = self.mean - self.deviations * (self.variance + _EPSILON).sqrt()
            clean = similarity >= limit[label]
            if self.training:
                self._follow(x, label, weight, clean, similarity)
        kept = clean.reshape(chosen.label.shape)
        return replace(chosen, weight=chosen.weight * kept, trusted=chosen.trusted & kept)

    def _follow(self, x: Tensor, label: Tensor, weight: Tensor, clean: Tensor, similarity: Tensor) -> None:
        classes = torch.arange(len(self.prototypes), device=label.device)
        of_class = (label.unsqueeze(1) == classes) * weight.unsqueeze(1)
        count = of_class.sum(0)
        share = count.clamp(min=torch.finfo(x.dtype).tiny)
        mean = of_class.T @ similarity / share
        variance = of_class.T @ (similarity - self.mean[label]).square() / share
        kept = of_class * clean.unsqueeze(1)
        kept_count = kept.sum(0).unsqueeze(1)
        place = kept.T @ x / kept_count.clamp(min=torch.finfo(x.dtype).tiny)
        self.moved("mean", mean, self.momentum, count)
        self.moved("variance", variance, self.momentum, count)
        moved = self.moved("prototypes", place, self.momentum, kept_count)
        self.prototypes.copy_(F.normalize(moved))

    def extra_repr(self) -> str:
        return f"deviations={self.deviations}, momentum={self.momentum}, fitted={self.fitted}"
