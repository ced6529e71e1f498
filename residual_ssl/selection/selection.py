"""The result of a selector: which pseudo-labels, with what weight."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from residual_ssl.errors import InvalidInputError


@dataclass(frozen=True)
class Selection:
    """Pseudo-labels with their weights; every tensor has shape ``(B, *S)`` unless said otherwise.

    Attributes:
        label: pseudo-label, int64 in [0, K).
        weight: weight of the pseudo-label in the loss, in [0, 1]; 0 at points that are not valid.
        trusted: bool, the points that the selector accepts in full.
        valid: bool, the points that were judged: marked valid by the caller and with finite logits.
        confidence: largest class probability; 0 at points that are not valid.
        residual: residual dispersion as the selector used it; 0 at points that are not valid.
        target: what is taught instead of the hard label: class probabilities ``(B, K, *S)``; None for the label.
        negative: bool ``(B, K, *S)``, classes that a point surely is not, whatever its weight, never all K
            of them; None for no such knowledge.
        values: what is predicted of a point beside its class, ``(B, E, *S)``: a box, an offset; None for nothing.
            No selector looks at it; see :meth:`residual_ssl.Task.judged`.
        diagnostics: counts that a selector reports about its own work, by name, as scalar tensors.
            ``nonfinite`` is the number of points left out for a non-finite logit.
    """

    label: Tensor
    weight: Tensor
    trusted: Tensor
    valid: Tensor
    confidence: Tensor
    residual: Tensor
    target: Tensor | None = None
    negative: Tensor | None = None
    values: Tensor | None = None
    diagnostics: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def coverage(self) -> Tensor:
        """Share of the valid points that is used, ``Σ weight / #valid``: a scalar tensor in [0, 1], 0 if none is valid.

        For a selector with weights 0 and 1 this is the fraction of points selected.
        """
        return self.weight.sum() / self.valid.sum().clamp(min=1)

    def with_diagnostics(self, **counts: Tensor) -> Selection:
        """The selection with further diagnostics."""
        return replace(self, diagnostics={**self.diagnostics, **counts})

    def map(self, function: Callable[[Tensor], Tensor]) -> Selection:
        """The selection with ``function`` applied to each of its tensors: a move to a device, another order of samples.

        Points stand in the last dimensions of all of them, samples in the first.
        """
        changes: dict[str, Any] = {name: function(value) for name, value in self._tensors().items()}
        return replace(self, **changes)

    def mixed(self, other: Selection, take_other: Tensor, num_classes: int | None = None) -> Selection:
        """The selection of samples that show those of ``other`` in some places (CutMix of labels).

        Where points are places of the input, each is taken from one of the two; several points of one place, as
        ``(B, L, *S)``, are taken together. Where points are of whole samples, ``(B,)`` or ``(B, L)``, they become both:
        their target is that of either by its share of the places, each weighted as its own selection does, so that the
        loss is the sum of both losses by their shares, and what is not selected teaches nothing.

        Args:
            other: a selection of the same shape.
            take_other: bool ``(B, *S)`` over the places; points with fewer dimensions are of whole samples.
            num_classes: K; needed for points of whole samples alone.

        Raises:
            InvalidInputError: points of whole samples without ``num_classes``.

        Source: CutMix, arXiv 1905.04899, §3.1.
        """
        if take_other.dim() > self.label.dim():
            if num_classes is None:
                raise InvalidInputError("num_classes: got None for points that are whole samples, expected K")
            share = take_other.flatten(1).to(self.weight.dtype).mean(1)
            share = share.reshape(-1, *[1] * (self.label.dim() - 1)).expand(self.label.shape)
            return self._shared(other, share, num_classes)
        take_other = take_other.reshape(
            len(take_other), *[1] * (self.label.dim() - take_other.dim()), *take_other.shape[1:]
        )
        theirs = other._tensors()
        by_class = dict.fromkeys(("target", "negative", "values"), take_other.unsqueeze(1))
        changes: dict[str, Any] = {
            name: torch.where(by_class.get(name, take_other), theirs[name], kept)
            for name, kept in self._tensors().items()
        }
        return replace(self, **changes)

    def with_labels(self, label: Tensor, where: Tensor, values: Tensor | None = None) -> Selection:
        """True labels ``(B, *S)`` where bool ``where`` ``(B, *S)``, in full and valid; this selection elsewhere.

        What ``label``, and ``values`` ``(B, E, *S)`` for a selection that has some, hold elsewhere does not matter.
        """
        known = replace(
            self,
            label=label.where(where, self.label),
            weight=self.weight.masked_fill(where, 1.0),
            trusted=self.trusted | where,
            valid=self.valid | where,
            confidence=self.confidence.masked_fill(where, 1.0),
            residual=self.residual.masked_fill(where, 0.0),
        )
        if self.target is not None:
            certain = F.one_hot(known.label, self.target.shape[1]).movedim(-1, 1).to(self.target.dtype)
            known = replace(known, target=certain.where(where.unsqueeze(1), self.target))
        if self.negative is not None:
            known = replace(known, negative=self.negative & ~where.unsqueeze(1))
        if self.values is not None and values is not None:
            known = replace(known, values=values.to(self.values.dtype).where(where.unsqueeze(1), self.values))
        return known

    def _shared(self, other: Selection, share: Tensor, num_classes: int) -> Selection:
        """Both selections of whole samples, the other one to a share in [0, 1], of the shape of the points."""
        weights = (1 - share) * self.weight, share * other.weight
        total = weights[0] + weights[1]
        part = torch.where(total > 0, weights[1] / total.clamp(min=torch.finfo(total.dtype).tiny), share).unsqueeze(1)
        targets = [
            F.one_hot(one.label, num_classes).movedim(-1, 1).to(total.dtype) if one.target is None else one.target
            for one in (self, other)
        ]
        nearer = share <= 0.5
        negative = None
        if self.negative is not None and other.negative is not None:
            negative = self.negative & other.negative  # what neither is
        return replace(
            self,
            label=torch.where(nearer, self.label, other.label),
            weight=total,
            trusted=self.trusted & other.trusted,
            valid=self.valid | other.valid,
            confidence=(1 - share) * self.confidence + share * other.confidence,
            residual=(1 - share) * self.residual + share * other.residual,
            target=(1 - part) * targets[0] + part * targets[1],
            negative=negative,
            values=_nearer(nearer, self.values, other.values),
        )

    def _tensors(self) -> dict[str, Tensor]:
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "diagnostics"}
        return {name: value for name, value in values.items() if value is not None}


def _nearer(own: Tensor, values: Tensor | None, others: Tensor | None) -> Tensor | None:
    """Values ``(B, E)`` of whole samples, of those that show more of the sample."""
    return None if values is None or others is None else torch.where(own.unsqueeze(1), values, others)
