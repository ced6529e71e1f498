"""How good predictions look where no label is known: criteria that choose a checkpoint without the target's labels."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.utilities import dim_zero_cat

from residual_ssl.errors import ConfigError, InvalidInputError

CERTAINTY, INFOMAX, DENSITY = "unsupervised_certainty", "unsupervised_infomax", "unsupervised_density"
_LABELLED = "labelled"
_ROWS = 1024  # of the similarity matrix in memory at once


class UnsupervisedCriteria(Metric):  # type: ignore[misc]
    """Criteria of predictions on a data set of which no label is looked at; in per cent, larger is better.

    - ``unsupervised_certainty``: ``1 - mean H(p) / ln K``. Weak: a network that calls everything one class is at 100.
    - ``unsupervised_infomax``: ``(H(mean p) - mean H(p)) / ln K``, the mutual information of samples and predicted
      classes: sure of each point, and of many classes. It favours balanced classes, whatever the true shares are.
    - ``unsupervised_density``: :func:`soft_neighborhood_density`, where ``density`` is asked for.

    Every point with finite probabilities counts, also those whose label a data set leaves void. Without any, all
    criteria are 0. A torchmetrics metric: its states add up over processes.

    Args:
        num_classes: K.
        density: keep the predictions, ``N·K`` numbers in float32, for the density; for one prediction a sample.

    Call ``update(logits, target=None)`` with logits ``(B, K, *S)``; ``target`` is not looked at. ``compute()`` gives
    float64 scalars by name.

    Raises:
        InvalidInputError: logits of another number of classes, or, with ``density``, with dimensions beyond ``(B, K)``.

    Source: mutual information, Bridle et al., NIPS 1991, as in SHOT, arXiv 2002.08546, §3.2.

    Example:
        >>> criteria = UnsupervisedCriteria(2)
        >>> criteria.update(torch.tensor([[90.0, 0.0], [0.0, 90.0], [90.0, 0.0]]))
        >>> {name: round(value.item(), 1) for name, value in criteria.compute().items()}
        {'unsupervised_certainty': 100.0, 'unsupervised_infomax': 91.8}
    """

    full_state_update = False
    higher_is_better = True

    def __init__(self, num_classes: int, density: bool = False) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.density = density
        self.add_state("points", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("entropy", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros(num_classes, dtype=torch.float64), dist_reduce_fx="sum")
        if density:
            self.add_state("predictions", [], dist_reduce_fx="cat")

    def update(self, logits: Tensor, target: Tensor | None = None) -> None:
        if logits.dim() < 2 or logits.shape[1] != self.num_classes or (self.density and logits.dim() > 2):
            expected = f"(B, {self.num_classes}{'' if self.density else ', *S'})"
            raise InvalidInputError(f"logits: got shape {tuple(logits.shape)}, expected {expected}")
        p = rearrange((logits.float() if logits.itemsize < 4 else logits).softmax(1), "b k ... -> (b ...) k")
        counted = p.isfinite().all(1, keepdim=True)
        p = torch.where(counted, p, 0.0)
        self.points += counted.sum()
        self.entropy += torch.special.entr(p).sum(dtype=torch.float64)
        self.total += p.sum(0, dtype=torch.float64)
        if self.density:
            self.predictions.append(p[counted.squeeze(1)].float())

    def compute(self) -> dict[str, Tensor]:
        points = self.points.clamp(min=1)
        largest = math.log(self.num_classes)
        mean = self.entropy / points
        spread = torch.special.entr(self.total / points).sum()
        # Probabilities sum to 1 up to rounding, and metrics keep their range.
        certainty, infomax = (value.clamp(0, 1) for value in (1 - mean / largest, (spread - mean) / largest))
        metrics = {CERTAINTY: 100 * certainty * (self.points > 0), INFOMAX: 100 * infomax}
        if self.density:
            predictions = dim_zero_cat(self.predictions) if len(self.predictions) else torch.zeros(0, self.num_classes)
            metrics[DENSITY] = 100 * soft_neighborhood_density(predictions)
        return metrics


def soft_neighborhood_density(probabilities: Tensor, temperature: float = 0.05) -> Tensor:
    """How many neighbours each prediction has, as the entropy of its similarities to all others.

    With the cosine similarities ``s_ij`` of the predictions, and ``d_i = softmax_{j≠i}(s_ij / τ)``::

        SND = mean_i H(d_i) / ln(N - 1)

    It is large where the predictions form few dense groups. Divided by its largest value, which the paper does not do
    and which changes no order on one data set.

    Args:
        probabilities: ``(N, K)``, floating. Cost: ``N²·K`` operations, memory ``1024·N``.
        temperature: τ > 0.

    Returns:
        Scalar in [0, 1], float64; 0 for fewer than three predictions.

    Source: Soft Neighborhood Density, arXiv 2108.10860, §3.2.

    Example:
        >>> alike = torch.tensor([[1.0, 0.0]]).expand(9, 2)
        >>> round(soft_neighborhood_density(alike).item(), 3)
        1.0
    """
    number = len(probabilities)
    if number < 3:
        return torch.zeros((), dtype=torch.float64, device=probabilities.device)
    directions = F.normalize(probabilities, dim=1)
    total = torch.zeros((), dtype=torch.float64, device=probabilities.device)
    for start in range(0, number, _ROWS):
        rows = directions[start : start + _ROWS]
        similarity = rows @ directions.T / temperature
        diagonal = torch.arange(len(rows), device=rows.device)
        similarity[diagonal, diagonal + start] = -torch.inf
        total += torch.special.entr(similarity.softmax(1)).sum(dtype=torch.float64)
    return (total / number / math.log(number - 1)).clamp(max=1)  # up to rounding


def with_criteria(labelled: Metric, num_classes: int, density: bool = False) -> MetricCollection:
    """A task's metric together with :class:`UnsupervisedCriteria`, updated and computed as one.

    Args:
        labelled: ``update(logits, target)``, ``compute()``; what it computes is no mapping.
        num_classes, density: as of the criteria.
    """
    parts = {_LABELLED: labelled, "unsupervised": UnsupervisedCriteria(num_classes, density)}
    return MetricCollection(parts, compute_groups=False)


def criteria_apart(computed: Any) -> tuple[Any, dict[str, float]]:
    """What a metric of :func:`with_criteria` computed: the labelled metrics, and the criteria by name."""
    criteria = {name: value.item() for name, value in computed.items() if name != _LABELLED}
    return computed[_LABELLED], criteria


def checked_choice(choose_by: str | None, labelled: tuple[str, ...], density: bool = False) -> str | None:
    """The metric that is to choose a checkpoint, which must be one that the task has.

    Raises:
        ConfigError: another name.
    """
    known = (*labelled, CERTAINTY, INFOMAX, *((DENSITY,) if density else ()))
    if choose_by is not None and choose_by not in known:
        raise ConfigError(f"choose_by: got {choose_by!r}, expected one of {', '.join(known)}")
    return choose_by
