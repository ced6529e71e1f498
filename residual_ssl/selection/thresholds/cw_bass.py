"""Weight by confidence above a threshold that a check on labelled points switches between strict and adaptive."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.runtime.arguments import NotNegative, Share, ShareBelowOne, checked
from residual_ssl.selection.features import JudgedPoints, judged_points
from residual_ssl.selection.needs import Needs
from residual_ssl.selection.points.ranking import known_labels
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector


class CWBASSThreshold(Selector):
    """Weigh points by confidence above a threshold, a strict one where confident predictions are right.

    Formula: ``w = c^γ·1[c > τ]``, γ = 1; ``τ = s`` where a share ≥ s of the labelled points with c ≥ s is right,
    s = .95, else ``τ = clip(max(b·σ(β(c̄ - ½)), f·ĉ), low, high)``, b = .6, β = .5, f = .95, low = .3, high = .95, c̄ the
    mean confidence of the batch, ĉ its moving average of momentum .99

    State: ĉ; the numbers of labelled points with c ≥ s and of right ones among them, over all processes; these fade by
    the momentum.

    Cost: two passes, and one over the labelled prediction.

    Use: strong teachers whose confidence saturates: it looks at whether that is deserved. The check is honest on points
    that the model was not trained on: give held-out ones to :meth:`update_from_labels`.

    Source: CW-BASS, arXiv 2502.15152 (no gate, f = 0, high = .8, as its released code); CW-BASS v2, arXiv 2608.12773,
    whose thresholds by class from error bounds, after a warm-up, and whose boundary loss are left out.

    Args:
        strict: s in [0, 1]; None: always adaptive.
        floor: f in [0, 1].
        base, slope: b in [0, 1] and β.
        low, high: bounds of the adaptive τ.
        power: γ ≥ 0.
        momentum: in [0, 1).

    Raises:
        InvalidInputError: a number outside its range.

    Example:
        >>> import torch
        >>> selector = CWBASSThreshold(strict=None, floor=0.0, high=0.8)
        >>> selector(torch.tensor([[4.0, 0.0], [0.1, 0.0]])).weight
        tensor([0.9820, 0.5250])
    """

    confidence: Tensor
    kept: Tensor

    @checked
    def __init__(
        self,
        strict: Share | None = 0.95,
        floor: Share = 0.95,
        base: Share = 0.6,
        slope: float = 0.5,
        low: Share = 0.3,
        high: Share = 0.95,
        power: NotNegative = 1.0,
        momentum: ShareBelowOne = 0.99,
    ) -> None:
        super().__init__()
        if low > high:
            raise InvalidInputError(f"low: got {low}, expected at most high, {high}")
        self.strict = strict
        self.floor = floor
        self.base = base
        self.slope = slope
        self.low = low
        self.high = high
        self.power = power
        self.momentum = momentum
        self.add_state("confidence", torch.tensor(base), "mean")
        self.add_state("kept", torch.zeros(2), "sum")  # right ones, all

    @property
    def needs(self) -> Needs:
        return replace(super().needs, labels=self.strict is not None)

    def update_from_labels(self, logits: Tensor, target: Tensor, ignore_index: int = 255) -> None:
        if self.strict is None or not self.training:
            return
        points = judged_points(logits.detach(), known_labels(target, ignore_index, logits.shape[1]))
        sure = points.valid & (points.confidence >= self.strict)
        found = torch.stack([(sure & (points.label == target)).sum(), sure.sum()]).to(self.kept.dtype)
        self.kept.mul_(self.momentum).add_(self.reduced("kept", found))

    def judge(self, points: JudgedPoints, logits: Tensor) -> Selection:
        confidence = points.confidence.detach()
        count = points.valid.sum()
        mean = confidence.sum() / count.clamp(min=1)
        running = self.moved("confidence", mean, self.momentum, count)
        adaptive = self.base * torch.sigmoid(self.slope * (self.reduced("confidence", mean, count) - 0.5))
        threshold = torch.maximum(adaptive, self.floor * running).clamp(self.low, self.high)
        if self.strict is not None:
            right, sure = self.kept
            deserved = (sure > 0) & (right >= self.strict * sure)
            threshold = torch.where(deserved, self.strict, threshold)
        weight = torch.where(confidence > threshold, confidence**self.power, 0.0)
        return self.select(points, weight == 1, weight)

    def extra_repr(self) -> str:
        return f"strict={self.strict}, floor={self.floor}, base={self.base}, low={self.low}, high={self.high}"
