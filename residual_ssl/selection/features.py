"""What a prediction says about its own reliability: confidence and residual dispersion."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.selection.points.blocks import takes_blocks, takes_kernel
from residual_ssl.selection.points.odds import odds_in_blocks

Residual = Literal["paper", "released"]

# Keeps g = (K-1)²/(2(1-c+ε)) finite at c = 1; the value of the CoVar release.
_SCALE_EPSILON = 1e-8
_POINTS_AT_ONCE = 2**18


class Features(NamedTuple):
    """Residual features of a batch of predictions; each field has shape ``(B, *S)``.

    Attributes:
        confidence: largest class probability, in [1/K, 1]; 0 at points that are not valid.
        residual: dispersion of the other classes' probabilities, ≥ 0; 0 at points that are not valid.
        label: class of the largest probability, int64 in [0, K); 0 where a logit is not finite.
    """

    confidence: Tensor
    residual: Tensor
    label: Tensor


def prediction_features(
    logits: Tensor,
    valid: Tensor | None = None,
    *,
    residual: Residual = "paper",
    scaled: bool = False,
) -> Features:
    """Confidence, residual dispersion and label of every point of a prediction.

    With ``p = softmax(logits)``, ``c = max p`` reached at class ``y``, and ``m = (1-c)/(K-1)`` the mean of the other
    probabilities::

        r = 1/(K-1) · Σ_{k≠y} (p_k - m)²                  the variance of what is left

    Neither ``c`` nor ``r`` needs the softmax itself: both follow from the first two moments of ``exp(x_k - max x)``
    over ``k ≠ y``. Leaving the largest term out of the sums, instead of subtracting it afterwards, keeps ``r``
    accurate in float32 where ``c`` is close to 1.

    Args:
        logits: ``(B, K, *S)``, floating, K ≥ 2. float16 and bfloat16 are computed in float32; float64 stays float64.
        valid: bool ``(B, *S)``, False at points to leave out (padding). A point with a non-finite logit is never valid.
        residual: ``"paper"`` is the formula above. ``"released"`` keeps the arg-max slot in the sum as a zero, as the
            authors' public code does: ``r + m²/(K-1)``.
        scaled: multiply ``r`` by ``g = (K-1)²/(2(1-c))``, the second-order coefficient of the cross-entropy (CoVar).

    Returns:
        Features of shape ``(B, *S)``, on the device of ``logits``, differentiable in ``logits``.

    Raises:
        InvalidInputError: logits that are not floating or have fewer than two classes, or a ``valid`` of another shape.

    Source: CSL, arXiv 2509.16704, §3.2 (``r``); CoVar, arXiv 2601.11670 (``g``).

    Example:
        >>> import torch
        >>> p = torch.tensor([[0.7, 0.2, 0.1]])
        >>> confidence, dispersion, label = prediction_features(p.log())
        >>> print(f"{confidence.item():.2f} {dispersion.item():.4f} {label.item()}")
        0.70 0.0025 0
    """
    points = judged_points(logits, valid, residual=residual, scaled=scaled)
    return Features(points.confidence, points.residual, points.label)


class JudgedPoints(NamedTuple):
    """Features of a prediction with the points they hold for; each field has shape ``(B, *S)``.

    Attributes:
        confidence, residual, label: as :class:`Features`.
        valid: bool, marked valid by the caller and with finite logits.
        finite: bool, with finite logits.
    """

    confidence: Tensor
    residual: Tensor
    label: Tensor
    valid: Tensor
    finite: Tensor


def judged_points(
    logits: Tensor, valid: Tensor | None = None, *, residual: Residual = "paper", scaled: bool = False
) -> JudgedPoints:
    """:func:`prediction_features` together with the points that may be selected: what a selector starts from."""
    if residual not in ("paper", "released"):
        raise InvalidInputError(f"residual: got {residual!r}, expected 'paper' or 'released'")
    check_prediction(logits, valid)
    formula = _Formula(logits.shape[1] - 1, residual == "released", scaled)
    with torch.autocast(logits.device.type, enabled=False):
        if takes_blocks(logits):
            return _judged_in_blocks(logits, valid, formula)
        return _judged_by_kernel(logits, valid, formula) if takes_kernel(logits) else _judged(logits, valid, formula)


class _Formula(NamedTuple):
    """How confidence and dispersion follow from the moments of ``odds = p_k/c`` over the ``others`` = K-1 classes."""

    others: int
    released: bool
    scaled: bool

    def values(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        confidence = 1 / (1 + first)
        mean = first / self.others  # m / c
        if self.others == 1:
            dispersion = torch.zeros_like(confidence)
        else:
            dispersion = (second / self.others - mean.square()).clamp(min=0) * confidence.square()
        if self.released:
            dispersion = dispersion + (mean * confidence).square() / self.others
        if self.scaled:
            dispersion = dispersion * (self.others**2 / (2 * (first * confidence + _SCALE_EPSILON)))
        return confidence, dispersion


def _judged(logits: Tensor, valid: Tensor | None, formula: _Formula) -> JudgedPoints:
    """The features in whole passes: differentiable, on any device, and what a compiler fuses."""
    finite = logits.isfinite().all(dim=1)
    valid = finite if valid is None else finite & valid
    x = logits if logits.dtype == torch.float64 else logits.float()
    x = torch.where(finite.unsqueeze(1), x, torch.zeros_like(x))
    top, label = x.max(dim=1, keepdim=True)
    odds = (x - top).exp().scatter(1, label, 0.0)  # p_k / c for k ≠ y
    confidence, dispersion = formula.values(odds.sum(dim=1), odds.square().sum(dim=1))
    nothing = torch.zeros_like(confidence)
    return JudgedPoints(
        torch.where(valid, confidence, nothing),
        torch.where(valid, dispersion, nothing),
        label.squeeze(1),
        valid,
        finite,
    )


def _judged_in_blocks(logits: Tensor, valid: Tensor | None, formula: _Formula) -> JudgedPoints:
    """The features in one pass over the logits, and in place."""
    first, second, label = odds_in_blocks(logits)
    finite = first == first
    valid = finite if valid is None else finite & valid
    nothing = first.new_zeros(())
    columns = [torch.split(x.view(-1), _POINTS_AT_ONCE) for x in (first, second, valid.contiguous())]
    for confidence, dispersion, keep in zip(*columns, strict=True):
        features = formula.values(confidence, dispersion)
        torch.where(keep, features[0], nothing, out=confidence)
        torch.where(keep, features[1], nothing, out=dispersion)
    return JudgedPoints(first, second, label, valid, finite)


def _judged_by_kernel(logits: Tensor, valid: Tensor | None, formula: _Formula) -> JudgedPoints:
    """The features in one pass over the logits, on a GPU."""
    # Imported where it is used: it needs Triton.
    from residual_ssl.selection.points.kernel import features_by_kernel

    return JudgedPoints(
        *features_by_kernel(
            logits, valid, released=formula.released, scaled=formula.scaled, scale_epsilon=_SCALE_EPSILON
        )
    )


def check_prediction(logits: Tensor, valid: Tensor | None) -> None:
    """Refuse logits that are not floating ``(B, K, *S)`` with K ≥ 2, and a ``valid`` that is not bool ``(B, *S)``."""
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        kind = logits.dtype if isinstance(logits, Tensor) else type(logits).__name__
        raise InvalidInputError(f"logits: got {kind}, expected a floating tensor of shape (B, K, *S)")
    if logits.dim() < 2 or logits.shape[1] < 2:
        raise InvalidInputError(
            f"logits: got shape {tuple(logits.shape)}, expected (B, K, *S) with K ≥ 2 classes in dimension 1; "
            "give a binary problem two logits: torch.stack([-x / 2, x / 2], dim=1)"
        )
    if valid is None:
        return
    shape = (logits.shape[0], *logits.shape[2:])
    if not isinstance(valid, Tensor):
        raise InvalidInputError(f"valid: got {type(valid).__name__}, expected a torch.bool tensor of shape {shape}")
    if valid.dtype != torch.bool or tuple(valid.shape) != shape:
        raise InvalidInputError(
            f"valid: got {valid.dtype} of shape {tuple(valid.shape)}, expected torch.bool of shape {shape}, "
            f"as logits are {tuple(logits.shape)}"
        )
