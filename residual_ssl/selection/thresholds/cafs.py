"""CAFS: per-class thresholds that reach a target precision on labelled predictions."""

from __future__ import annotations

import torch
from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.runtime.arguments import Share, ShareBelowOne, checked
from residual_ssl.selection.features import JudgedPoints, judged_points
from residual_ssl.selection.points.ranking import known_labels
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector

_BINS = 100
# Fewer labelled points above a confidence say too little of it.
_FEWEST = 20.0


class CAFSThreshold(Selector):
    """Per-class threshold: the lowest confidence above which labelled predictions reach a target precision.

    Formula: ``w = 1[c ≥ τ_y]``, τ_k the lowest multiple of .01 in [low, high] at which the precision of the labelled
    points predicted as k with c ≥ τ_k is at least π = .95, or high if none is; a class with fewer than 20 such points
    uses the τ of all classes together

    State: counts of labelled points, and of correct ones among them, by predicted class and confidence bin, summed over
    all processes; each update multiplies the old counts by the momentum .99.

    Cost: one pass, and one over the labelled prediction.

    Use: classes of different difficulty, where equal confidence means different precision. A model is more often
    correct on its training points than on others: if you can, pass held-out points to :meth:`update_from_labels`.

    Source: the per-class calibration of CAFS, arXiv 2303.11606, which holds out labelled images for it; the target
    precision π is this library's formulation.

    Args:
        precision: π in [0, 1].
        low, high: bounds of τ, in [0, 1].
        momentum: factor of the old counts in a call of :meth:`update_from_labels`, in [0, 1).

    Raises:
        InvalidInputError: a number outside its range.

    Example:
        >>> import torch
        >>> selector = CAFSThreshold(precision=0.9, low=0.5)
        >>> unsure, sure = torch.tensor([[1.0, 0.0]]).repeat(40, 1), torch.tensor([[4.0, 0.0]]).repeat(40, 1)
        >>> selector.update_from_labels(torch.cat([unsure, sure]), torch.tensor([0, 1] * 20 + [0] * 40))
        >>> selector(torch.tensor([[1.0, 0.0], [2.0, 0.0], [4.0, 0.0]])).weight
        tensor([0., 1., 1.])
    """

    seen: Tensor
    right: Tensor

    @checked
    def __init__(
        self, precision: Share = 0.95, low: Share = 0.5, high: Share = 0.95, momentum: ShareBelowOne = 0.99
    ) -> None:
        super().__init__()
        if low > high:
            raise InvalidInputError(f"low: got {low}, expected at most high, {high}")
        self.precision = precision
        self.low = low
        self.high = high
        self.momentum = momentum
        self.add_class_state("seen", _empty_bins, "sum")
        self.add_class_state("right", _empty_bins, "sum")

    def update_from_labels(self, logits: Tensor, target: Tensor, ignore_index: int = 255) -> None:
        if not self.training:
            return
        self.size_states(logits.shape[1])
        points = judged_points(logits.detach(), known_labels(target, ignore_index, logits.shape[1]))
        # A confidence counts for the highest multiple of 1/_BINS that it reaches.
        below = (points.confidence.flatten() * _BINS).long().clamp(0, _BINS - 1)
        bin_index = points.label.flatten() * _BINS + below
        right = points.valid & (points.label == target)
        for name, counted in (("seen", points.valid), ("right", right)):
            state: Tensor = getattr(self, name)
            found = state.new_zeros(state.numel()).scatter_add(0, bin_index, counted.flatten().to(state.dtype))
            state.mul_(self.momentum).add_(self.reduced(name, found.view_as(state)))

    def thresholds(self) -> Tensor:
        """τ of each class, ``(K,)``, from what was observed; all of them ``high`` before that."""
        pooled = self._least(self.seen.sum(0, keepdim=True), self.right.sum(0, keepdim=True))
        enough = self.seen[:, round(self.low * _BINS) :].sum(1) >= _FEWEST
        return torch.where(enough, self._least(self.seen, self.right), pooled)

    def _least(self, seen: Tensor, right: Tensor) -> Tensor:
        """The least of the possible thresholds that is precise enough, for each row."""
        above, right_above = (x.flip(1).cumsum(1).flip(1) for x in (seen, right))
        candidates = torch.arange(_BINS, device=seen.device) / _BINS
        inside = (candidates >= self.low - 1e-6) & (candidates <= self.high + 1e-6)
        good = inside & (above >= 1) & (right_above >= self.precision * above)
        return torch.where(good, candidates, self.high).amin(1)

    def judge(self, points: JudgedPoints, logits: Tensor) -> Selection:
        return self.select(points, points.confidence >= self.thresholds()[points.label])

    def extra_repr(self) -> str:
        return f"precision={self.precision}, low={self.low}, high={self.high}, momentum={self.momentum}"


def _empty_bins(num_classes: int) -> Tensor:
    return torch.zeros(num_classes, _BINS)
