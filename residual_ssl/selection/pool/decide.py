"""From the statistics of a pool to a selector that judges any part of it as it would judge all together."""

from __future__ import annotations

from functools import singledispatch

import torch
from torch import Tensor

from residual_ssl.selection.convex.constrained import ConstrainedConvexSelector
from residual_ssl.selection.convex.partition import solve_partition
from residual_ssl.selection.convex.selector import ConvexSelector
from residual_ssl.selection.convex.separation import ConvexPartition, affinity_form
from residual_ssl.selection.pool.decided import ClassThresholds, DecidedPartition, OneWeight, TableOfWeights
from residual_ssl.selection.pool.statistics import EDGES, PoolStatistics
from residual_ssl.selection.selector import Selector
from residual_ssl.selection.thresholds.top_fraction import TopFraction
from residual_ssl.selection.weights.confident_share import ConfidentShare


def judges_pool(selector: Selector, *, spatial: bool) -> bool:
    """Whether a selector compares the points of several samples, and :func:`decide` knows how it would those of a pool.

    Others judge each point, or each sample, by itself; or, where they compare the samples of a batch, go on to do so.

    Args:
        selector: to be asked.
        spatial: whether there are several points to a sample.
    """
    if isinstance(selector, TopFraction) and selector.score != "confidence":  # of which there are no statistics
        return False
    if isinstance(selector, TopFraction | ConfidentShare):
        return selector.scope != "sample" and not _has_window(selector)
    if isinstance(selector, ConvexSelector):
        compares = selector.scope in ("batch", "window") or (selector.scope == "auto" and not spatial)
        return compares and selector.temperature == 0 and not _has_window(selector)
    return isinstance(selector, ConstrainedConvexSelector)


def decide(selector: Selector, statistics: PoolStatistics) -> Selector:
    """The selector that judges a part of a pool as ``selector`` judges all of it together.

    Equal within the bins of the statistics: a threshold of :class:`TopFraction` lies at the edge of a bin, the one
    whose number of points is nearer to the wanted one; a share of :class:`ConfidentShare` is that of the nearest edge;
    moments of the reliable cluster of :class:`ConvexSelector` take the bin that its border cuts as a whole; the nodes
    of :class:`ConstrainedConvexSelector` are those of bins in place of points. Bins are 1/256 wide in confidence and,
    above 7/8, 2.2 % of 1 - c; and 2.9 % of r/c.

    Args:
        selector: one that :func:`judges_pool`; another is returned as it is.
        statistics: of the whole pool.

    Example:
        >>> from residual_ssl.selection.pool.statistics import summarise
        >>> selector = TopFraction(fraction=0.5, balance="none").eval()
        >>> logits = torch.tensor([[4.0, 0.0], [3.0, 0.0], [0.0, 0.2], [0.0, 0.1]])
        >>> decided = decide(selector, summarise(logits, selector))
        >>> decided(logits[:2]).weight, decided(logits[2:]).weight
        (tensor([1., 1.]), tensor([0., 0.]))
    """
    return _decide(selector, statistics).eval() if judges_pool(selector, spatial=statistics.spatial) else selector


def _has_window(selector: Selector) -> bool:
    """Whether it compares points with those of a window, and has some."""
    past = getattr(selector, "past", None)
    return past is not None and bool(past.filled.any())


@singledispatch
def _decide(selector: Selector, statistics: PoolStatistics) -> Selector:
    return selector


@_decide.register
def _(selector: TopFraction, statistics: PoolStatistics) -> Selector:
    counts = statistics.confidence
    share = selector.fraction + (selector.final - selector.fraction) * selector.progress().cpu()
    if selector.balance == "none":
        budget = (share * counts.sum()).round()
        return ClassThresholds(_threshold(counts.sum(0), budget).expand(len(counts)).clone())
    wanted = counts.sum(1).double()
    if selector.balance == "labelled" and selector.labels.numel() and selector.labels.sum() > 0:
        wanted = (selector.labels / selector.labels.sum()).cpu().double() * counts.sum()
    budgets = (share * wanted).round()
    return ClassThresholds(torch.stack([_threshold(row, budget) for row, budget in zip(counts, budgets, strict=True)]))


def _threshold(counts: Tensor, budget: Tensor) -> Tensor:
    """The edge of bins ``(M,)`` above which the number of points is nearest to a budget."""
    above = torch.cat([counts.flip(0).cumsum(0).flip(0), counts.new_zeros(1)]).double()
    edges = torch.cat([EDGES[:-1], torch.tensor([torch.inf], dtype=EDGES.dtype)])
    distance = (above - budget).abs()
    # Of several edges with the same points above, the highest, as the threshold is a confidence that occurs.
    best = len(distance) - 1 - int(distance.flip(0).argmin())
    return edges[best].to(torch.float32) if budget > 0 else torch.tensor(torch.inf)


@_decide.register
def _(selector: ConfidentShare, statistics: PoolStatistics) -> Selector:
    counts = statistics.confidence.clone()
    if selector.background is not None:
        counts[selector.background] = 0
    nearest = int((EDGES[:-1] - selector.threshold).abs().argmin())
    total = int(counts.sum())
    return OneWeight(float(counts[:, nearest:].sum()) / total if total else 0.0)


@_decide.register
def _(selector: ConvexSelector, statistics: PoolStatistics) -> Selector:
    sums = statistics.directions
    number, _, _, cc, cr, rr = sums.sum(0)
    gram = torch.stack([torch.stack([cc, cr]), torch.stack([cr, rr])]) / number.clamp(min=1)
    program = solve_partition(gram, gamma=selector.gamma, solver=selector.solver)
    form = affinity_form(gram, program)
    # Of a bin, the direction of its mean decides for all of its points: the form has no constant and no linear term.
    direction = torch.where(sums[:, 1] > 0, sums[:, 2] / sums[:, 1].clamp(min=1e-300), 0.0)
    first = (form[0, 0] + 2 * form[0, 1] * direction + form[1, 1] * direction.square() > 0).double()
    sides = [(share[:, None] * sums).sum(0) for share in (first, 1 - first)]
    scores = [
        (side[1] - selector.dispersion_penalty * side[2]) / side[0] if side[0] > 0 else -torch.inf for side in sides
    ]
    side = sides[0] if scores[0] >= scores[1] else sides[1]
    mean = side[1:3] / side[0].clamp(min=1)
    squares = torch.stack([side[3], side[5]]) - side[0] * mean.square()
    variance = (squares / (side[0] - 1).clamp(min=1)).clamp(min=0)
    return DecidedPartition(
        ConvexPartition(program[None], gram[None], first[None], mean[None], variance[None]), selector, selector.alpha
    )


@_decide.register
def _(selector: ConstrainedConvexSelector, statistics: PoolStatistics) -> Selector:
    nodes, table = selector.table_of_bins(statistics.confidence, (EDGES[:-1] + EDGES[1:]) / 2)
    return TableOfWeights(nodes, table)
