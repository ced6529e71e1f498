"""Scores of how certain a prediction is, by which points can be ranked in place of its confidence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.selection.features import JudgedPoints
from residual_ssl.selection.points.blocks import each_point

#: Names of the scores.
Score = Literal["confidence", "margin", "entropy", "energy", "pnorm", "gen"]
# p of the norm. The source tunes it on held-out predictions; most of its networks want 4 to 6.
_NORM = 5.0
# γ and M of the source.
_GAMMA, _LARGEST = 0.1, 100


def certainty(logits: Tensor, points: JudgedPoints, score: Score) -> Tensor:
    """A score of each point, larger where the prediction is more certain; ``(B, *S)``, detached.

    With ``p = softmax(x)``, ``p₁ ≥ p₂ ≥ …``, and ``x̃ = x - mean x``:

    ==============  ================================  ===============================================================
    ``confidence``  ``p₁``                            maximum softmax probability, arXiv 1610.02136
    ``margin``      ``p₁ - p₂``                       Scheffer et al., IDA 2001
    ``entropy``     ``Σ p log p``                     negative entropy
    ``energy``      ``log Σ exp x``                   arXiv 2010.03759; a shift of the logits changes it
    ``pnorm``       ``max x̃ / |x̃|_5``                 MaxLogit-pNorm, arXiv 2305.15508, with one p for all networks
    ``gen``         ``-Σ_{k ≤ 100} (p_k(1-p_k))^.1``  generalised entropy, Liu et al., CVPR 2023
    ==============  ================================  ===============================================================

    Args:
        logits: ``(B, K, *S)``.
        points: of these logits.
        score: one of the names.

    Raises:
        InvalidInputError: another name.

    Example:
        >>> import torch
        >>> from residual_ssl.selection.features import judged_points
        >>> logits = torch.tensor([[2.0, 0.0, 0.0], [2.0, 2.0, 0.0]])
        >>> certainty(logits, judged_points(logits), "margin")
        tensor([0.6805, 0.0000])
    """
    if score not in get_args(Score):
        raise InvalidInputError(f"score: got {score!r}, expected one of {', '.join(get_args(Score))}")
    if score == "confidence":
        return points.confidence.detach()

    def of(x: Tensor, finite: Tensor) -> Tensor:
        x = x if x.dtype == torch.float64 else x.float()
        return _OF[score](x.where(finite.unsqueeze(1), torch.zeros_like(x)))

    with torch.autocast(logits.device.type, enabled=False):
        found: Tensor = each_point(of, logits.detach(), points.finite)
        return found


def _margin(x: Tensor) -> Tensor:
    first, second = x.softmax(1).topk(2, dim=1).values.unbind(1)
    return first - second


def _entropy(x: Tensor) -> Tensor:
    logs = x.log_softmax(1)
    return (logs.exp() * logs).sum(1)


def _pnorm(x: Tensor) -> Tensor:
    centred = x - x.mean(1, keepdim=True)
    size: Tensor = torch.linalg.vector_norm(centred, _NORM, dim=1)
    return centred.amax(1) / size.clamp(min=torch.finfo(x.dtype).tiny)


def _gen(x: Tensor) -> Tensor:
    p = x.softmax(1)
    p = p.topk(_LARGEST, dim=1).values if p.shape[1] > _LARGEST else p
    return -(p * (1 - p)).pow(_GAMMA).sum(1)


_OF: dict[str, Callable[[Tensor], Tensor]] = {
    "margin": _margin,
    "entropy": _entropy,
    "energy": lambda x: x.logsumexp(1),
    "pnorm": _pnorm,
    "gen": _gen,
}
