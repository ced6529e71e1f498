"""Two predictions of the same points: of two models, two heads, or teacher and student."""

from __future__ import annotations

import torch
from torch import Tensor

from residual_ssl.selection.features import JudgedPoints, judged_points
from residual_ssl.selection.points.point_features import check_second


def judged_pair(points: JudgedPoints, logits: Tensor, second: Tensor) -> tuple[JudgedPoints, JudgedPoints]:
    """The points of two predictions ``(B, K, *S)``, valid where both are finite; ``points`` are those of ``logits``."""
    check_second(second, logits)
    other = judged_points(second.detach().to(logits.dtype), points.valid)
    both = points.valid & other.valid
    nothing = torch.zeros_like(points.confidence)
    first, other = (
        part._replace(
            valid=both,
            finite=points.finite & other.finite,
            confidence=torch.where(both, part.confidence, nothing),
            residual=torch.where(both, part.residual, nothing),
        )
        for part in (points, other)
    )
    return first, other
