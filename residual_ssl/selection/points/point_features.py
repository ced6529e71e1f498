"""What a learned selector sees of a point: its prediction, its neighbours' and a second opinion's."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.selection.features import JudgedPoints, judged_points

# Log-odds of ±30 are probabilities within 1e-13 of 0 and 1: beyond, they only stretch the scale.
_LARGEST_LOG_ODDS = 30.0

FEATURES = ("confidence", "log_odds", "dispersion", "entropy", "margin", "local_agreement", "local_log_odds")
SECOND_FEATURES = ("second_agreement", "second_log_odds")


class PointFeatures(NamedTuple):
    """Features of every point of a prediction.

    Attributes:
        values: ``(B, *S, D)``, in the order of ``FEATURES``, then ``SECOND_FEATURES`` where there is a second
            prediction; 0 at points that are not valid.
        points: confidence, dispersion, label and validity of the points, each ``(B, *S)``.
    """

    values: Tensor
    points: JudgedPoints


def point_features(
    logits: Tensor, valid: Tensor | None = None, second: Tensor | None = None, *, window: int = 5
) -> PointFeatures:
    """Features that tell right predictions from wrong ones, for every point.

    With ``p = softmax(logits)``, ``c = max p`` reached at the label ``y``:

    ===================  =========================================================================  ============
    ``confidence``       ``c``                                                                      [1/K, 1]
    ``log_odds``         ``log c/(1-c)``: keeps confidences close to 1 apart                        [-30, 30]
    ``dispersion``       residual dispersion, see :func:`~residual_ssl.prediction_features`         ≥ 0
    ``entropy``          ``-Σ p log p / log K``                                                     [0, 1]
    ``margin``           largest minus second largest probability                                   [0, 1]
    ``local_agreement``  share of the valid points of the window whose label is ``y``               (0, 1]
    ``local_log_odds``   mean ``log_odds`` of the valid points of the window                        [-30, 30]
    ``second_agreement`` 1 where the second prediction has the label ``y``, else 0                  {0, 1}
    ``second_log_odds``  log-odds of the second prediction's probability of ``y``                   [-30, 30]
    ===================  =========================================================================  ============

    The window is centred at the point, which belongs to it, and is cut off at the border. Without spatial dimensions it
    holds the point alone: the agreement is 1 and the local log-odds are the point's own.

    Args:
        logits: ``(B, K, *S)``, floating, K ≥ 2. float16 and bfloat16 are computed in float32; float64 stays float64.
        valid: bool ``(B, *S)``, False at points to leave out; they are nobody's neighbours.
        second: logits of a second view or model for the same points, of the shape of ``logits``. Points where they are
            not finite are not valid.
        window: odd side ≥ 1 of the window in every spatial dimension; 1 looks at no neighbour.

    Returns:
        Features in float32, float64 for float64 logits, on the device of ``logits``, differentiable in them.

    Raises:
        InvalidInputError: as :func:`~residual_ssl.prediction_features`; a ``second`` of another shape; a window that is
            not odd.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[[4.0, 4.0, 0.0], [0.0, 0.0, 4.0]]])  # two classes at three points of a line
        >>> values, points = point_features(logits, window=3)
        >>> points.label
        tensor([[0, 0, 1]])
        >>> agreement = values[..., FEATURES.index("local_agreement")]
        >>> print([round(share, 2) for share in agreement[0].tolist()])
        [1.0, 0.67, 0.5]
    """
    if not isinstance(window, int) or window < 1 or window % 2 == 0:
        raise InvalidInputError(f"window: got {window!r}, expected an odd integer ≥ 1")
    points = judged_points(logits, valid)
    if second is not None:
        check_second(second, logits)
        points = _judged_twice(points, second)
    with torch.autocast(logits.device.type, enabled=False):
        columns = _own_features(logits, points)
        columns += _local_features(points, columns[FEATURES.index("log_odds")], window)
        if second is not None:
            columns += _second_features(second, points)
        values = torch.stack([torch.where(points.valid, column, 0.0) for column in columns], -1)
    return PointFeatures(values, points)


def check_second(second: Tensor, logits: Tensor) -> None:
    """Refuse a second prediction that is not floating logits of the shape of the first."""
    if not isinstance(second, Tensor) or second.shape != logits.shape or not second.is_floating_point():
        got = f"{second.dtype} of shape {tuple(second.shape)}" if isinstance(second, Tensor) else type(second).__name__
        raise InvalidInputError(
            f"second: got {got}, expected floating logits for the same points, of shape {tuple(logits.shape)}"
        )


def _judged_twice(points: JudgedPoints, second: Tensor) -> JudgedPoints:
    finite = points.finite & second.isfinite().all(dim=1)
    valid = points.valid & finite
    return points._replace(
        valid=valid,
        finite=finite,
        confidence=torch.where(valid, points.confidence, 0.0),
        residual=torch.where(valid, points.residual, 0.0),
    )


def _own_features(logits: Tensor, points: JudgedPoints) -> list[Tensor]:
    log_probability = _log_probability(logits, points)
    probability = log_probability.exp()
    entropy = -(probability * log_probability).sum(1) / math.log(logits.shape[1])
    top = probability.topk(2, dim=1).values
    log_odds_of_label = log_odds(log_probability, points.label)
    return [points.confidence, log_odds_of_label, points.residual, entropy, top[:, 0] - top[:, 1]]


def _second_features(second: Tensor, points: JudgedPoints) -> list[Tensor]:
    log_probability = _log_probability(second, points)
    agreement = (log_probability.argmax(1) == points.label).to(log_probability.dtype)
    return [agreement, log_odds(log_probability, points.label)]


def _log_probability(logits: Tensor, points: JudgedPoints) -> Tensor:
    x = logits.to(points.confidence.dtype)
    return torch.where(points.valid.unsqueeze(1), x, 0.0).log_softmax(1)


def log_odds(log_probability: Tensor, label: Tensor) -> Tensor:
    """Log-odds of the class ``label`` ``(B, *S)``, in [-30, 30], from log-probabilities ``(B, K, *S)``.

    From the sum of the other classes: exact where the probability rounds to 1.
    """
    index = label.unsqueeze(1)
    of_label = log_probability.gather(1, index).squeeze(1)
    others = log_probability.scatter(1, index, -torch.inf).logsumexp(1)
    return (of_label - others).clamp(-_LARGEST_LOG_ODDS, _LARGEST_LOG_ODDS)


def _local_features(points: JudgedPoints, log_odds: Tensor, window: int) -> list[Tensor]:
    """Share of equal labels and mean log-odds over the valid points of the window around each point."""
    reach, spatial = window // 2, points.label.shape[1:]
    padding = [reach] * (2 * len(spatial))
    # -1 is no label: it marks what lies outside or is not valid.
    label = F.pad(torch.where(points.valid, points.label, -1), padding, value=-1)
    value = F.pad(torch.where(points.valid, log_odds, 0.0), padding)
    count, equal, total = torch.zeros_like(log_odds), torch.zeros_like(log_odds), torch.zeros_like(log_odds)
    for corner in itertools.product(range(window), repeat=len(spatial)):
        inside = (slice(None), *(slice(start, start + size) for start, size in zip(corner, spatial, strict=True)))
        count += label[inside] >= 0
        equal += label[inside] == points.label
        total = total + value[inside]
    count = count.clamp(min=1)
    return [equal / count, total / count]
