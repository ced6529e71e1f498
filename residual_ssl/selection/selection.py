"""The result of a selector: which pseudo-labels, with what weight."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Selection:
    """Pseudo-labels with their weights; every tensor has shape ``(B, *S)`` unless said otherwise.

    Attributes:
        label: pseudo-label, int64 in [0, K).
        weight: weight of the pseudo-label in the loss, in [0, 1]; 0 at points that are not valid.
        trusted: bool, the points that the rule accepts in full.
        valid: bool, the points that were judged: marked valid by the caller and with finite logits.
        confidence: largest class probability; 0 at points that are not valid.
        residual: residual dispersion as the rule used it; 0 at points that are not valid.
        diagnostics: counts that a rule reports about its own work, by name, as scalar tensors.
            ``nonfinite`` is the number of points left out for a non-finite logit.
    """

    label: Tensor
    weight: Tensor
    trusted: Tensor
    valid: Tensor
    confidence: Tensor
    residual: Tensor
    diagnostics: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def coverage(self) -> Tensor:
        """Share of the valid points that is used, ``Σ weight / #valid``: a scalar tensor in [0, 1], 0 if none is valid.

        For a rule with weights 0 and 1 this is the fraction of points selected.
        """
        return self.weight.sum() / self.valid.sum().clamp(min=1)

    def with_diagnostics(self, **counts: Tensor) -> Selection:
        """The selection with further diagnostics."""
        return replace(self, diagnostics={**self.diagnostics, **counts})

    def map(self, function: Callable[[Tensor], Tensor]) -> Selection:
        """The selection with ``function`` applied to each of its point tensors, the same spatial change for all."""
        return Selection(
            **{f.name: function(getattr(self, f.name)) for f in fields(self) if f.name != "diagnostics"},
            diagnostics=self.diagnostics,
        )

    def mixed(self, other: Selection, take_other: Tensor) -> Selection:
        """Points of ``other`` where bool ``take_other`` ``(B, *S)``, of this selection elsewhere (CutMix of labels)."""
        return Selection(
            **{
                f.name: torch.where(take_other, getattr(other, f.name), getattr(self, f.name))
                for f in fields(self)
                if f.name != "diagnostics"
            },
            diagnostics=self.diagnostics,
        )
