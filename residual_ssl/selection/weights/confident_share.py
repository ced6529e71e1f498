"""One weight for a whole image or batch: the share of it that is predicted with confidence."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from residual_ssl.runtime.arguments import Index, Share, checked
from residual_ssl.selection.features import JudgedPoints
from residual_ssl.selection.points.probabilities import grouped
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector


class ConfidentShare(Selector):
    """Weigh every point of an image, or of a batch, by the share of its points that are predicted with confidence.

    Nothing is left out within a group, so that the weights do not favour easy classes. Points are trusted where the
    share is 1.

    Formula: ``w = #{c ≥ τ} / #valid`` of the point's group, τ = .968; with a background class b, both counts are over
    points with ``y ≠ b``, and w = 0 where there are none

    State: none. A batch is that of the process.

    Cost: two passes.

    Use: domain adaptation of segmentation, where thresholds would drop the rare classes.

    Source: DAFormer, arXiv 2111.14887, eq. 4 (by image; its released code: by batch);
    CutMix-Seg, arXiv 1906.01916, τ = .97 over the batch.

    Args:
        threshold: τ in [0, 1].
        scope: what forms a group, ``"sample"`` or ``"batch"``.
        background: class that the share is not counted over; None to count all.

    Raises:
        InvalidInputError: a choice outside its range.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[[9.0, 9.0, 9.0, 0.1], [0.0, 0.0, 0.0, 0.0]]])  # two classes at four points
        >>> ConfidentShare()(logits).weight
        tensor([[0.7500, 0.7500, 0.7500, 0.7500]])
    """

    @checked
    def __init__(
        self,
        threshold: Share = 0.968,
        scope: Literal["sample", "batch"] = "sample",
        background: Index | None = None,
    ) -> None:
        super().__init__()
        self.threshold = threshold
        self.scope = scope
        self.background = background

    def judge(self, points: JudgedPoints, logits: Tensor) -> Selection:
        counted = points.valid if self.background is None else points.valid & (points.label != self.background)
        sure = grouped(counted & (points.confidence >= self.threshold), self.scope).sum(-1, keepdim=True)
        total = grouped(counted, self.scope).sum(-1, keepdim=True)
        share = sure / total.clamp(min=1).to(points.confidence.dtype)
        weight = share.expand_as(grouped(points.valid, self.scope)).reshape(points.valid.shape)
        return self.select(points, weight == 1, weight)

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}, scope={self.scope!r}, background={self.background}"
