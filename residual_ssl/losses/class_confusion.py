"""Minimum class confusion: a loss on predictions without labels, which should not hesitate between the same classes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.runtime.global_batch import sum_over_processes
from residual_ssl.selection.features import check_prediction


def minimum_class_confusion(logits: Tensor, valid: Tensor | None = None, temperature: float = 2.5) -> Tensor:
    """How much the classes of a batch are confused with each other, as the predictions themselves tell.

    With ``p = softmax(logits / T)`` of each point and its weight ``w = 1 + exp(-H(p))``, which passes no gradient::

        C = Σ_points w · p pᵀ,    C̃ = C with each row divided by its sum,    L = (Σ C̃ - tr C̃) / K

    The confusion is that of the whole micro-batch: within the engine ``C`` is summed over the processes. It is no sum
    over points, so that micro-batches of one step give another loss than the undivided batch.

    Args:
        logits: ``(B, K, *S)``, floating; float16 and bfloat16 are computed in float32.
        valid: bool ``(B, *S)``, False at points to leave out. A point with a non-finite logit is never counted.
        temperature: T > 0.

    Returns:
        Scalar in [0, 1 - 1/K], differentiable in the logits; 0 without points.

    Raises:
        InvalidInputError: logits or ``valid`` of another shape or dtype, a temperature that is not positive.

    Source: Minimum Class Confusion, arXiv 1912.03699, §3.2.

    Example:
        >>> import torch
        >>> sure = torch.tensor([[50.0, 0.0], [0.0, 50.0]])
        >>> minimum_class_confusion(sure).item() < 1e-6, minimum_class_confusion(0 * sure).item()
        (True, 0.5)
    """
    _check_temperature(temperature)
    check_prediction(logits, valid)
    wide = rearrange(logits.float() if logits.itemsize < 4 else logits, "b k ... -> (b ...) k")
    counted = wide.isfinite().all(1, keepdim=True)
    if valid is not None:
        counted = counted & rearrange(valid, "b ... -> (b ...) 1")
    with torch.autocast(logits.device.type, enabled=False):
        # Points that do not count keep their place with weight 0: no shape depends on the data.
        p = torch.where(counted, wide / temperature, 0.0).softmax(-1)
        entropy = torch.special.entr(p.detach()).sum(-1, keepdim=True)
        weight = (1 + (-entropy).exp()) * counted
        confusion = sum_over_processes((weight * p).T @ p)
        tiny = torch.finfo(p.dtype).tiny
        rows = confusion / confusion.sum(1, keepdim=True).clamp(min=tiny)
        return (rows.sum() - rows.trace()) / len(rows)


@dataclass(frozen=True)
class MinimumClassConfusion:
    """:func:`minimum_class_confusion` as a component of a configuration.

    Args:
        temperature: as there; 2.5 in the paper's experiments.

    Call: ``(logits, valid) -> scalar``.

    Raises:
        InvalidInputError: a temperature that is not positive.
    """

    temperature: float = 2.5

    def __post_init__(self) -> None:
        _check_temperature(self.temperature)

    def __call__(self, logits: Tensor, valid: Tensor | None = None) -> Tensor:
        return minimum_class_confusion(logits, valid, self.temperature)


def _check_temperature(temperature: float) -> None:
    if not 0 < temperature < math.inf:
        raise InvalidInputError(f"temperature: got {temperature}, expected a positive number")
