"""Whole images told apart, those of known classes from strangers; within them other rules judge the points."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.features import judged_points
from residual_ssl.selection.partition import solve_partition
from residual_ssl.selection.past_points import PastPoints
from residual_ssl.selection.probabilities import log_probabilities
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector

_VARIANCE_EPSILON = 1e-8
# Scores that differ by less are alike.
_ROUNDING = 1e-6


class ReliableImages(Selector):
    """Leave out the foreground of images that look like strangers to the classes, and judge the background by itself.

    A point of a stranger, an image whose objects are of no known class, is often predicted with confidence. The image
    as a whole gives it away: its objects are less clearly of different classes, and what surrounds them is less clearly
    background. Within either kind of image the two are hardly related, over a mixed pool they are: so their correlation
    says whether there are strangers at all. What is predicted as background needs a rule of its own: objects that were
    missed are among it, and they are few beside all that is right, but many beside the objects.

    Formula: ``w = w_around`` where ``y = background``; elsewhere ``w = w_rule``, in images with ``a + b < τ`` times
    ``1 - 2P₁₂``; a and b are I and C of the image, centred and of unit variance over the last W images: ``I = H(mean p)
    - mean H(p)`` over the points with ``y ≠ background``, the information that a point has on the class, C the mean
    confidence of the others; P solves :func:`solve_partition` for their correlation matrix, ``2P₁₂ = min(1, 2ρ/γ)``,
    γ = .4, 0 for ρ < 0; τ splits the ``a + b`` of the window in two with the least variance within

    State: I and C of the last W images, of all processes; and that of the rules inside.

    Cost: four passes beside those of the two rules, and a sort of W numbers.

    Use: unlabelled pools of which a good part shows other things than the classes. Few strangers are not noticed, nor
    any by a model too weak for I and C to be related; of a pool that is nearly all strangers too much is kept.

    Source: this library. The program is the relaxed two-way partition of CSL, arXiv 2509.16704, §3.3, over images with
    centred features, its optimum the direction ``a + b``, rounded by the best split along it; γ withdraws it where the
    eigenvalues 1 ± ρ are close, and no direction leads. I is the measure of BALD, arXiv 1112.5745, over an image.

    Args:
        rule: judges the points of the foreground.
        around: judges those of the background.
        background: class id of the background, ≥ 0.
        window: W ≥ 1.
        gamma: γ ≥ 0; with 0 the pool is always split.

    ``forward`` takes logits ``(B, K, *S)``, and what the two rules need.

    Raises:
        InvalidInputError: a background, window or γ out of range.

    Example:
        >>> import torch
        >>> from residual_ssl.selection import NoSelection
        >>> clear = torch.tensor([[9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0]])  # classes x points
        >>> strange = torch.tensor([[4.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.9, 0.9]])
        >>> ReliableImages(NoSelection(), NoSelection())(torch.stack([clear, strange])).weight
        tensor([[1., 1., 1.],
                [1., 0., 0.]])
    """

    def __init__(
        self, rule: Selector, around: Selector, background: int = 0, window: int = 128, gamma: float = 0.4
    ) -> None:
        super().__init__()
        if background < 0:
            raise InvalidInputError(f"background: got {background}, expected a class id ≥ 0")
        if window < 1:
            raise InvalidInputError(f"window: got {window}, expected a number of images ≥ 1")
        if not gamma >= 0:
            raise InvalidInputError(f"gamma: got {gamma}, expected a number ≥ 0")
        self.rule = rule
        self.around = around
        self.background = background
        self.gamma = gamma
        self.evidence = tuple(dict.fromkeys(rule.evidence + around.evidence))
        self.past = PastPoints(window, information=torch.float64, surroundings=torch.float64)

    def begin(self, steps: int) -> None:
        self.rule.begin(steps)
        self.around.begin(steps)

    def observe(self, logits: Tensor, target: Tensor, ignore_index: int = 255) -> None:
        self.rule.observe(logits, target, ignore_index)
        self.around.observe(logits, target, ignore_index)

    def forward(self, logits: Tensor, valid: Tensor | None = None, **evidence: Tensor) -> Selection:
        chosen: Selection
        around: Selection
        chosen, around = (
            rule(logits, valid, **{name: evidence[name] for name in rule.evidence}) for rule in (self.rule, self.around)
        )
        points = judged_points(logits, valid)
        foreground = points.valid & (points.label != self.background)
        log_p = log_probabilities(logits, points)
        information, surroundings, seen = image_evidence(log_p, points.confidence.detach(), points.valid, foreground)
        if self.training:
            self.past.add(seen, information=information, surroundings=surroundings)
        past = torch.cat([self.past.column("information"), self.past.column("surroundings")])
        reliability = image_reliability(torch.stack([information, surroundings]), past, self.past.filled, self.gamma)
        # A window without images, in evaluation before any training, says nothing.
        reliability = (reliability * self.past.filled.any()).to(chosen.weight.dtype)
        reliability = reliability.reshape(-1, *[1] * (foreground.dim() - 1))
        return replace(
            chosen,
            weight=torch.where(foreground, chosen.weight * reliability, around.weight),
            trusted=torch.where(foreground, chosen.trusted & (reliability == 1), around.trusted),
        )

    def extra_repr(self) -> str:
        return f"background={self.background}, gamma={self.gamma}"


def image_evidence(log_p: Tensor, confidence: Tensor, valid: Tensor, foreground: Tensor) -> tuple[Tensor, ...]:
    """What an image as a whole says of its reliability.

    Args:
        log_p: log-probabilities ``(B, K, *S)``.
        confidence: ``(B, *S)``.
        valid: bool ``(B, *S)``.
        foreground: bool ``(B, *S)``, those valid points that are predicted as something.

    Returns:
        ``(B,)`` each: information in [0, log K], ``H(mean p) - mean H(p)`` over the foreground; mean confidence of the
        other valid points, 1 where there are none; both float64; and whether the image has a foreground.
    """
    images, classes = log_p.shape[:2]
    log_p = log_p.reshape(images, classes, -1).double()
    inside, outside = (x.reshape(images, -1).double() for x in (foreground, valid & ~foreground))
    size, around = inside.sum(1), outside.sum(1)
    p = log_p.exp()
    shares = p * (inside / size.clamp(min=1)[:, None]).unsqueeze(1)
    information = torch.special.entr(shares.sum(2)).sum(1) + (shares * log_p).sum((1, 2))
    mean = (confidence.reshape(images, -1) * outside).sum(1) / around.clamp(min=1)
    return information, torch.where(around > 0, mean, 1.0), size > 0


def image_reliability(own: Tensor, past: Tensor, filled: Tensor, gamma: float) -> Tensor:
    """Weight of each image by the side of the partition of the window that it is on.

    Args:
        own: features of the images to judge, larger for better ones, float64 ``(2, B)``.
        past: those of the window, ``(2, W)``.
        filled: bool ``(W,)``, the places of the window that hold an image.
        gamma: γ of the program.

    Returns:
        ``(B,)`` in [0, 1]: 1 on the better side, ``1 - 2P₁₂`` on the other.
    """
    some = filled.sum().clamp(min=1)
    mean = (past * filled).sum(1, keepdim=True) / some
    centred = (past - mean) * filled
    scale = (centred.square().sum(1, keepdim=True) / some + _VARIANCE_EPSILON).rsqrt()
    standard = centred * scale
    # Features that oppose each other show no direction that is better in both.
    correlation = (standard @ standard.T / some).clamp(min=0).fill_diagonal_(1.0)
    program = solve_partition(correlation, gamma=gamma)
    below = ((own - mean) * scale).sum(0) < best_split(standard.sum(0), filled)
    return 1 - 2 * program[0, 1] * below


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
