"""Losses over points that carry weights, normalised by what is valid."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.runtime.global_batch import mean_count
from residual_ssl.selection import Selection


def selected_cross_entropy(logits: Tensor, selection: Selection) -> Tensor:
    """Cross-entropy to the pseudo-labels: ``Σ w·CE / #valid``, 0 where no point is valid.

    The divisor is the number of valid points and not ``Σ w``: a batch of which little is trusted teaches little. In the
    engine it is counted over all processes (:func:`residual_ssl.runtime.global_batch.mean_count`), as for all losses.

    A selection with soft targets is taught by them in place of its labels. One with negative labels adds, for each
    point that has some, ``-log(1 - Σ_negative p)`` over the same divisor: the point is none of these.

    Args:
        logits: ``(B, K, *S)``.
        selection: labels, weights and validity ``(B, *S)``, targets and negative labels ``(B, K, *S)``.

    Returns:
        Scalar, float32 or wider, differentiable in the logits (and in the weights where these carry a gradient).

    Source: CSL, arXiv 2509.16704, eq. 9; UniMatch, arXiv 2208.09910, eq. 2; negative learning, arXiv 1908.07387.

    Example:
        >>> from residual_ssl import FixedThreshold
        >>> chosen = FixedThreshold(0.9)(torch.tensor([[4.0, 0.0], [0.0, 0.0]]))
        >>> round(selected_cross_entropy(torch.zeros(2, 2), chosen).item(), 4)  # ln 2 at one of two points
        0.3466
    """
    return selected_cross_entropy_sum(logits, selection) / mean_count(selection.valid.sum())


def selected_cross_entropy_sum(logits: Tensor, selection: Selection) -> Tensor:
    """The sum that :func:`selected_cross_entropy` divides by the number of valid points."""
    wide = _wide(logits)
    target = selection.label if selection.target is None else selection.target.to(wide.dtype)
    total = _weighted(F.cross_entropy(wide, target, reduction="none"), selection)
    if selection.negative is not None:
        # log(1 - Σ_negative p) is the log-probability of the other classes together.
        others = wide.masked_fill(selection.negative, -torch.inf).logsumexp(1) - wide.logsumexp(1)
        total = total - others.sum()
    return total


def selected_squared_error(logits: Tensor, selection: Selection) -> Tensor:
    """Squared error of probabilities to the pseudo-labels or soft targets: ``Σ w·mean_k (p_k - t_k)² / #valid``.

    Bounded, unlike the cross-entropy: the consistency of Mean Teacher.

    Args and Returns as :func:`selected_cross_entropy`; negative labels have no part in it.

    Source: Mean Teacher, arXiv 1703.01780, §2.

    Example:
        >>> from residual_ssl.selection import TrustAll
        >>> chosen = TrustAll()(torch.tensor([[9.0, 0.0]]))
        >>> round(selected_squared_error(torch.zeros(1, 2), chosen).item(), 4)  # (.5² + .5²) / 2
        0.25
    """
    probabilities = _wide(logits).softmax(1)
    target = selection.target
    if target is None:
        target = F.one_hot(selection.label, logits.shape[1]).movedim(-1, 1)
    error = (probabilities - target.to(probabilities.dtype)).square().mean(1)
    return _weighted(error, selection) / mean_count(selection.valid.sum())


def _weighted(loss: Tensor, selection: Selection) -> Tensor:
    """``Σ w·loss`` over the points of positive weight: what is infinite elsewhere does not spread."""
    return (loss.where(selection.weight > 0, 0.0) * selection.weight).sum()


def labelled_cross_entropy(logits: Tensor, target: Tensor, ignore_index: int = 255) -> Tensor:
    """Mean cross-entropy over the labelled points, 0 where every point is ignored.

    Args:
        logits: ``(B, K, *S)``.
        target: int64 ``(B, *S)``, class ids or ``ignore_index``.
        ignore_index: id of the points to leave out.

    Returns:
        Scalar, float32 or wider.
    """
    loss = F.cross_entropy(_wide(logits), target, ignore_index=ignore_index, reduction="sum")
    return loss / mean_count((target != ignore_index).sum())


def ohem_cross_entropy(
    logits: Tensor, target: Tensor, ignore_index: int = 255, threshold: float = 0.7, min_kept: int = 100_000
) -> Tensor:
    """Mean cross-entropy over the hard points of a batch (online hard example mining), 0 where every point is ignored.

    Hard are the labelled points whose predicted probability of the true class is at most ``max(threshold, p)``, where
    ``p`` is the ``min_kept``-th smallest of these probabilities: all below the threshold, but never fewer than
    ``min_kept`` (all where there are fewer). Computed without a host synchronisation.

    Args:
        logits: ``(B, K, *S)``.
        target: int64 ``(B, *S)``, class ids or ``ignore_index``.
        ignore_index: id of the points to leave out.
        threshold: probability in [0, 1] up to which every point is kept.
        min_kept: least number of points kept *of this call*, that is of one process's batch; ≥ 0.

    Returns:
        Scalar, float32 or wider.

    Raises:
        InvalidInputError: a threshold outside [0, 1], a negative number.

    Source: Online hard example mining, arXiv 1604.03540, for pixels with a threshold as UniMatch (arXiv 2208.09910)
    and CSL (arXiv 2509.16704) train Cityscapes.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[0.0, 2.0, 4.0], [0.0, 0.0, 0.0]]).unsqueeze(0)  # K = 2, three points
        >>> target = torch.zeros(1, 3, dtype=torch.long)  # probabilities .5, .88 and .98
        >>> [round(ohem_cross_entropy(logits, target, min_kept=kept).item(), 3) for kept in (0, 2, 3)]
        [0.693, 0.41, 0.279]
    """
    _check_ohem(threshold, "min_kept", min_kept)
    loss = F.cross_entropy(_wide(logits), target, ignore_index=ignore_index, reduction="none")
    labelled = target != ignore_index
    probability = (-loss.detach()).exp()
    limit: Tensor | float = threshold
    if min_kept:
        # Ignored points rank last: where fewer than min_kept are labelled, the limit is infinite and all are kept.
        ranked = probability.where(labelled, float("inf")).flatten()
        limit = ranked.kthvalue(min(min_kept, ranked.numel())).values.clamp(min=threshold)
    kept = labelled & (probability <= limit)
    return loss.where(kept, 0.0).sum() / mean_count(kept.sum())


@dataclass(frozen=True)
class OHEMCrossEntropy:
    """:func:`ohem_cross_entropy` with its least number given per sample, as a component of a configuration.

    A number per sample means the same for any number of processes and micro-batches. Hard points are ranked within one
    process's micro-batch, so that the curves of one and of several processes are close and not equal.

    Args:
        threshold: as there.
        min_kept_per_sample: least number of points kept, per sample of the batch; the published 200,000 for the two
            images on each GPU are 100,000.

    Call: ``(logits, target, ignore_index) -> scalar``.

    Raises:
        InvalidInputError: a threshold outside [0, 1], a negative number.
    """

    threshold: float = 0.7
    min_kept_per_sample: int = 100_000

    def __post_init__(self) -> None:
        _check_ohem(self.threshold, "min_kept_per_sample", self.min_kept_per_sample)

    def __call__(self, logits: Tensor, target: Tensor, ignore_index: int = 255) -> Tensor:
        return ohem_cross_entropy(logits, target, ignore_index, self.threshold, len(logits) * self.min_kept_per_sample)


def _check_ohem(threshold: float, name: str, min_kept: int) -> None:
    if not 0 <= threshold <= 1:
        raise InvalidInputError(f"threshold: got {threshold}, expected a probability in [0, 1]")
    if min_kept < 0:
        raise InvalidInputError(f"{name}: got {min_kept}, expected a number of points ≥ 0")


def _wide(logits: Tensor) -> Tensor:
    return logits.float() if logits.itemsize < 4 else logits
