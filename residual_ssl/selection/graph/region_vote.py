"""Pseudo-labels that are decided by region: the points of a region vote for one label and share one weight."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.runtime.arguments import checked
from residual_ssl.selection.needs import Needs
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector
from residual_ssl.selection.wrapper import WrapperSelector


class RegionVote(WrapperSelector):
    """Let the points of a region vote for one pseudo-label, with the weights that another selector gives them.

    Regions are proposals of where objects end, made without any label: superpixels, masks of a segmentation model.
    Within one, a few sure points decide for the others, and single points that were labelled otherwise are outvoted.
    Points of no region keep what the selector inside says, as do regions in which no point has a weight.

    Formula: ``y = argmax_k v_k``, ``w = v_y / #valid``, ``v_k = Σ w_i·1[y_i = k]`` over the valid points i of the
    region, w_i and y_i those of the selector inside; soft targets become their weighted mean; trusted where ``w = 1``.
    With boundaries ignored, w = 0 at points beside a point of another region

    State: that of the selector inside.

    Cost: a sort of the points of each sample by region, and memory of the size of the logits.

    Use: with ``regions=slic`` or ``regions=stored``, where predictions are noisy and regions follow the objects.
    Regions that hold several objects spread errors, above all over thin and small ones.

    Source: votes within superpixels: B. Fulkerson et al., ICCV 2009; within masks of SAM for pseudo-labels:
    SEPL, arXiv 2305.05803. The weights are this library's own.

    Args:
        rule: selector that judges the points.
        ignore_boundaries: give no weight to points beside another region, where proposals are least exact.

    Args of ``forward``:
        logits, valid: as :class:`Selector`.
        regions: integer ``(B, *S)``, the region of each point within its sample; negative for none.

    Raises:
        InvalidInputError: regions of another dtype or shape.

    Example:
        >>> import torch
        >>> from residual_ssl import FixedThreshold
        >>> logits = torch.tensor([[[4.0, 4.0, 0.0, 0.0], [0.0, 0.0, 0.1, 0.1]]])  # two classes at four points
        >>> chosen = RegionVote(FixedThreshold(0.9))(logits, regions=torch.tensor([[0, 0, 0, 1]]))
        >>> chosen.label, chosen.weight
        (tensor([[0, 0, 0, 1]]), tensor([[0.6667, 0.6667, 0.6667, 0.0000]]))
    """

    evidence: tuple[str, ...] = ("regions",)
    rule: Selector

    @checked
    def __init__(self, rule: Selector, ignore_boundaries: bool = False) -> None:
        super().__init__("rule", rule)
        self.ignore_boundaries = ignore_boundaries
        self.evidence = tuple(dict.fromkeys(("regions", *rule.evidence)))

    @property
    def needs(self) -> Needs:
        return replace(super().needs, evidence=self.evidence)

    def require_fitted(self) -> None:
        self.rule.require_fitted()

    def forward(self, logits: Tensor, valid: Tensor | None = None, **evidence: Tensor) -> Selection:
        return self._voted(logits, valid, **evidence)

    def _voted(self, logits: Tensor, valid: Tensor | None, *, regions: Tensor, **evidence: Tensor) -> Selection:
        expected = (logits.shape[0], *logits.shape[2:])
        if regions.is_floating_point() or tuple(regions.shape) != expected:
            raise InvalidInputError(
                f"regions: got {regions.dtype} of shape {tuple(regions.shape)}, expected integers of shape {expected}, "
                f"as logits are {tuple(logits.shape)}"
            )
        known = {**evidence, "regions": regions}
        chosen: Selection = self.rule(logits, valid, **{name: known[name] for name in self.rule.evidence})
        return voted(chosen, regions, logits.shape[1], self.ignore_boundaries)

    def extra_repr(self) -> str:
        return f"ignore_boundaries={self.ignore_boundaries}"


def voted(chosen: Selection, regions: Tensor, num_classes: int, ignore_boundaries: bool = False) -> Selection:
    """A selection whose labels and weights are those of its regions, as :class:`RegionVote` says.

    Args:
        chosen: of points ``(B, *S)``.
        regions: integer ``(B, *S)``; negative for none.
        num_classes: K.
        ignore_boundaries: as there.
    """
    shape, samples = chosen.label.shape, len(chosen.label)
    region = region_ranks(regions.reshape(samples, -1))
    points = region.shape[1]
    inside = (chosen.valid & (regions >= 0)).reshape(samples, -1)
    weight = chosen.weight.reshape(samples, -1) * inside
    votes = weight.new_zeros(samples, num_classes * points)
    votes = votes.scatter_add(1, chosen.label.reshape(samples, -1) * points + region, weight)
    support, winner = votes.view(samples, num_classes, points).max(1)
    sizes = weight.new_zeros(samples, points).scatter_add(1, region, inside.to(weight.dtype))
    mean = (support / sizes.clamp(min=1)).clamp(max=1).gather(1, region)
    heard = inside & (support.gather(1, region) > 0)

    label = torch.where(heard, winner.gather(1, region), chosen.label.reshape(samples, -1)).view(shape)
    weight = torch.where(inside.view(shape), mean.view(shape), chosen.weight)
    trusted = torch.where(inside.view(shape), weight == 1, chosen.trusted)
    if ignore_boundaries:
        beside = at_boundaries(regions)
        weight, trusted = weight.masked_fill(beside, 0.0), trusted & ~beside
    changes: dict[str, Any] = {"label": label, "weight": weight, "trusted": trusted}
    if chosen.target is not None:
        flat, by = chosen.target.reshape(samples, num_classes, points), region.unsqueeze(1)
        share = chosen.weight.reshape(samples, 1, points) * inside.unsqueeze(1)
        by = by.expand_as(flat)
        sums = torch.zeros_like(flat).scatter_add(2, by, flat * share).gather(2, by)
        means = sums / sums.sum(1, keepdim=True).clamp(min=torch.finfo(sums.dtype).tiny)
        changes["target"] = torch.where(heard.unsqueeze(1), means, flat).view(chosen.target.shape)
    if chosen.negative is not None:
        of_label = F.one_hot(label, num_classes).movedim(-1, 1).bool()
        changes["negative"] = chosen.negative & ~of_label
    return replace(chosen, **changes)


def region_ranks(regions: Tensor) -> Tensor:
    """Ids ``(B, N)``, any integers, as int64 ranks in [0, N): equal where ids of a sample are, in their order."""
    ordered, order = regions.sort(1)
    new = F.pad(ordered[:, 1:] != ordered[:, :-1], (1, 0)).cumsum(1)
    return torch.zeros_like(new).scatter(1, order, new)


def at_boundaries(regions: Tensor) -> Tensor:
    """bool ``(B, *S)``, the points next to one of another region along any dimension; points of none do not count."""
    beside = torch.zeros_like(regions, dtype=torch.bool)
    for dim in range(1, regions.dim()):
        length = max(regions.shape[dim] - 1, 0)
        one, other = regions.narrow(dim, 0, length), regions.narrow(dim, regions.shape[dim] - length, length)
        differ = (one != other) & (one >= 0) & (other >= 0)
        padding = [0, 0] * (regions.dim() - 1 - dim)
        beside = beside | F.pad(differ, (*padding, 0, 1)) | F.pad(differ, (*padding, 1, 0))
    return beside
