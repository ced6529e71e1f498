"""Probabilities and logits: selectors judge logits."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from residual_ssl.errors import ResidualSSLWarning


def from_probabilities(probabilities: Tensor) -> Tensor:
    """Turn class probabilities ``(B, K, *S)`` into logits, their logarithm; a probability of 0 is the least above it.

    Example:
        >>> import torch
        >>> from_probabilities(torch.tensor([[0.9, 0.1]])).softmax(1)
        tensor([[0.9000, 0.1000]])
    """
    wide = probabilities if probabilities.dtype == torch.float64 else probabilities.float()
    return wide.clamp(min=torch.finfo(wide.dtype).tiny).log()


def warn_of_probabilities(logits: Tensor) -> None:
    """Warn where logits ``(B, K, *S)`` look like probabilities: all in [0, 1], each point's sum 1. The host waits.

    Warns:
        ResidualSSLWarning: they do.
    """
    tolerance = 1e-3 if logits.dtype in (torch.float32, torch.float64) else 2e-2
    if not logits.numel() or bool((logits < 0).any()) or not bool((logits <= 1).all()):
        return
    if bool(((logits.sum(1) - 1).abs() <= tolerance).all()):
        warnings.warn(
            ResidualSSLWarning(
                "logits: got values in [0, 1] that sum to 1 at each point, as probabilities do; they are judged by a "
                "softmax of their own; give logits, or residual_ssl.selection.from_probabilities(probabilities)"
            ),
            stacklevel=3,
        )
