"""The foreground partitioned in known classes and the rest; the background has a selector of its own."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.runtime.arguments import Count, Index, OddCount, checked
from residual_ssl.selection.convex.partition import solve_partition
from residual_ssl.selection.features import judged_points
from residual_ssl.selection.points.past_points import PastPoints
from residual_ssl.selection.points.point_features import log_odds
from residual_ssl.selection.points.probabilities import log_probabilities
from residual_ssl.selection.points.ranking import class_counts, label_counts
from residual_ssl.selection.points.starts import no_counts
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector
from residual_ssl.selection.wrapper import WrapperSelector

_EVIDENCE = ("information", "surroundings", "region")
_VARIANCE_EPSILON = 1e-8
# Scores that differ by less are alike.
_ROUNDING = 1e-6
# Places of an image that may go into the window, evenly spaced.
_PLACES = 256


class ReliableRegions(WrapperSelector):
    """Partition the foreground by four features of its image, its region and the pool; judge the background apart.

    Points of out-of-class objects are often predicted with high confidence, but four features separate them. In their
    images the objects are less clearly of different classes (I), and the background is less clearly background (C).
    Around a wrong prediction confidence varies (l). And once a network has learned from out-of-class objects, they
    collect in a few classes, which become more frequent in the pool than in the labels (r). In a contaminated pool the
    features that tell correct from wrong predictions are correlated, and one convex program finds that common
    direction; a feature that opposes it gets no weight. Because the better half of a pool can still be bad, the region
    of a point must also be more likely correct than wrong. Points predicted as background have a selector of their own:
    missed objects among them are few beside the correct ones, so that only a strict selector leaves them out.

    Formula: ``w = w_around`` where ``y = background``, elsewhere ``w = 1[1ᵀP z ≥ τ and l ≥ 0]``; z are I, C, l and r of
    the point, centred and of unit variance over the last W points of the foreground: of its image ``I = H(mean p) -
    mean H(p)`` over the foreground, the information that a point has on the class, and C the mean confidence of the
    background; l the mean log-odds, within ±30, of the foreground in a square around the point; ``r = log (q_y +
    1/W)/(p_y + 1/W)``, q the shares of the classes in the labels without the background, p those in the W predictions,
    r = 0 before any labels; P solves :func:`solve_partition` for their correlation matrix, negative entries as 0; τ
    splits the ``1ᵀP z`` of the window in two with the least variance within

    State: I, C, l and y of the last W points, of all processes; the number of labels of each class so far, over all
    processes; and that of the selector inside.

    Cost: six passes beside those of the selector for the background, and a sort of W numbers.

    Use: pools with many out-of-class objects, in images that are mostly background. Known classes should be about as
    frequent in the pool as in the labels. The pool is always partitioned: of a clean one the less clear part is left
    out, too. If the network is confident and wrong, as after training on very few labels, it trusts too much.

    Source: this library. The program is the relaxed two-way partition of CSL, arXiv 2509.16704, §3.3, of points with
    centred features, rounded by the best split along its optimum. I is the measure of BALD, arXiv 1112.5745, over an
    image; q/p that of distribution alignment, arXiv 1911.09785, as a feature.

    Args:
        around: judges the points of the background.
        background: class id of the background, ≥ 0.
        window: W ≥ 1, points; an image brings at most 256.
        reach: side of the square in points, odd; 1 looks at the point alone.

    ``forward`` takes logits ``(B, K, *S)``, and what the selector inside needs.

    Raises:
        InvalidInputError: a background, window or reach out of range; a background that is not among the classes.

    Example:
        >>> import torch
        >>> from residual_ssl.selection import TrustAll
        >>> clear = torch.tensor([[9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0]])  # classes x points
        >>> strange = torch.tensor([[4.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.9, 0.9]])
        >>> ReliableRegions(TrustAll())(torch.stack([clear, strange])).weight
        tensor([[1., 1., 1.],
                [1., 0., 0.]])
    """

    around: Selector
    labels: Tensor

    @checked
    def __init__(self, around: Selector, background: Index = 0, window: Count = 4096, reach: OddCount = 13) -> None:
        super().__init__("around", around, learns=True)
        self.background = background
        self.reach = reach
        self.past = PastPoints(window, **dict.fromkeys(_EVIDENCE, torch.float64), label=torch.int64)
        self.add_class_state("labels", no_counts, "sum")

    def update_from_labels(self, logits: Tensor, target: Tensor, ignore_index: int = 255) -> None:
        if self.training:
            self.size_states(logits.shape[1])
            counts = label_counts(target, ignore_index, logits.shape[1])
            self.labels.add_(self.reduced("labels", counts.to(self.labels.dtype)))
        super().update_from_labels(logits, target, ignore_index)

    def forward(self, logits: Tensor, valid: Tensor | None = None, **evidence: Tensor) -> Selection:
        around: Selection = self.around(logits, valid, **evidence)
        classes = logits.shape[1]
        if self.background >= classes:
            raise InvalidInputError(f"background: got {self.background}, expected one of the {classes} class ids")
        points = judged_points(logits, valid)
        foreground = points.valid & (points.label != self.background)
        log_p = log_probabilities(logits, points)
        information, surroundings = image_evidence(log_p, points.confidence.detach(), points.valid, foreground)
        region = mean_around(log_odds(log_p, points.label), foreground, self.reach).reshape(len(logits), -1)
        features = torch.stack([*(x.unsqueeze(1).expand_as(region) for x in (information, surroundings)), region])
        if self.training:
            places = torch.arange(0, region.shape[1], -(-region.shape[1] // _PLACES), device=region.device)
            seen = dict(zip(_EVIDENCE, features[:, :, places], strict=True))
            label = points.label.reshape_as(region)[:, places]
            self.past.add(foreground.reshape_as(region)[:, places], **seen, label=label)
        ratio = self._share_ratio(classes)
        features = torch.cat([features, ratio[points.label].reshape_as(region).unsqueeze(0)])
        past = torch.cat([*map(self.past.column, _EVIDENCE), ratio[self.past.column("label")]])
        better = on_the_better_side(features, past, self.past.filled)
        # A window without points, in evaluation before any training, says nothing.
        reliable = ((better | ~self.past.filled.any()) & (region >= 0)).view_as(foreground)
        kept = (foreground & reliable).to(around.weight.dtype)
        return replace(
            around,
            weight=torch.where(foreground, kept, around.weight),
            trusted=torch.where(foreground, reliable, around.trusted),
        )

    def _share_ratio(self, classes: int) -> Tensor:
        """r of each class ``(K,)``, float64."""
        predicted = class_counts(self.past.column("label"), self.past.column("filled"), classes)[0].double()
        wanted = self.labels.double().clone()
        wanted[self.background] = 0
        p, q = (counts / counts.sum().clamp(min=1) + 1 / self.past.size for counts in (predicted, wanted))
        return (q / p).log() * (wanted.sum() > 0)

    def extra_repr(self) -> str:
        return f"background={self.background}, reach={self.reach}"


def image_evidence(log_p: Tensor, confidence: Tensor, valid: Tensor, foreground: Tensor) -> tuple[Tensor, Tensor]:
    """What an image as a whole says of its reliability.

    Args:
        log_p: log-probabilities ``(B, K, *S)``.
        confidence: ``(B, *S)``.
        valid: bool ``(B, *S)``.
        foreground: bool ``(B, *S)``, those valid points that are predicted as something.

    Returns:
        float64 ``(B,)`` each: information in [0, log K], ``H(mean p) - mean H(p)`` over the foreground; mean confidence
        of the other valid points, 1 where there are none.
    """
    images, classes = log_p.shape[:2]
    log_p = log_p.reshape(images, classes, -1).double()
    inside, outside = (x.reshape(images, -1).double() for x in (foreground, valid & ~foreground))
    size, around = inside.sum(1), outside.sum(1)
    shares = log_p.exp() * (inside / size.clamp(min=1)[:, None]).unsqueeze(1)
    information = torch.special.entr(shares.sum(2)).sum(1) + (shares * log_p).sum((1, 2))
    mean = (confidence.reshape(images, -1) * outside).sum(1) / around.clamp(min=1)
    return information, torch.where(around > 0, mean, 1.0)


def mean_around(values: Tensor, chosen: Tensor, reach: int) -> Tensor:
    """Mean of the chosen values within a square around each point, float64 ``(B, *S)``; 0 where there are none.

    Args:
        values: ``(B, *S)``.
        chosen: bool ``(B, *S)``.
        reach: odd side of the square, cut off at the border.
    """
    sums = torch.stack([torch.where(chosen, values, 0.0).double(), chosen.double()])
    for dim in range(2, sums.dim()):
        length = sums.shape[dim]
        total = torch.cat([torch.zeros_like(sums.narrow(dim, 0, 1)), sums.cumsum(dim)], dim)
        window = torch.arange(length, device=sums.device)
        end, start = (window + reach // 2 + 1).clamp(max=length), (window - reach // 2).clamp(min=0)
        sums = total.index_select(dim, end) - total.index_select(dim, start)
    return torch.where(sums[1] > 0.5, sums[0] / sums[1].clamp(min=1), 0.0)


def on_the_better_side(features: Tensor, past: Tensor, filled: Tensor) -> Tensor:
    """Which points lie on the better side of the partition of a window.

    Args:
        own: features of the points to judge, larger for better ones, ``(d, *N)``.
        past: those of the window, ``(d, W)``.
        filled: bool ``(W,)``, the places of the window that hold a point.

    Returns:
        bool ``(*N)``.
    """
    present = filled.sum().clamp(min=1)
    mean = (past * filled).sum(1, keepdim=True) / present
    centred = (past - mean) * filled
    scale = (centred.square().sum(1, keepdim=True) / present + _VARIANCE_EPSILON).rsqrt()
    standard = centred * scale
    # Features that oppose each other show no direction that is better in both. Without negative entries the leading
    # eigenvector has none, so that all features count, and for what they are.
    correlation = (standard @ standard.T / present).clamp(min=0)
    direction = solve_partition(correlation).sum(0)
    scores = torch.tensordot(direction, (features.flatten(1) - mean) * scale, 1).view(features.shape[1:])
    better: Tensor = scores >= best_split(direction @ standard, filled)
    return better


def best_split(scores: Tensor, filled: Tensor) -> Tensor:
    """The threshold that splits scores ``(W,)`` in two with the least variance within; -∞ where they are all alike.

    Args:
        scores: floating ``(W,)``.
        filled: bool ``(W,)``, the scores that count.
    """
    count = filled.sum()
    ordered = torch.where(filled, scores, torch.inf).sort().values
    ordered = torch.where(ordered.isfinite(), ordered, 0.0)
    below = torch.arange(1, len(scores), device=scores.device)
    above = (count - below).clamp(min=1)
    sums = ordered.cumsum(0)
    gap = (sums[-1] - sums[:-1]) / above - sums[:-1] / below
    between = torch.where(below < count, below * above * gap.square(), 0.0)
    between = torch.cat([between, between.new_zeros(1)])  # a window of one place has no split
    best = between.argmax(0, keepdim=True)
    halfway = (ordered.gather(0, best) + ordered.gather(0, (best + 1).clamp(max=len(scores) - 1))) / 2
    return torch.where(between.gather(0, best) > _ROUNDING, halfway, -torch.inf).squeeze(0)
