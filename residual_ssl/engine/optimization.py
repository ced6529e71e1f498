"""Learning rates: which parameters learn how fast, and when."""

from __future__ import annotations

from typing import Any

from torch import nn


def parameter_groups(model: nn.Module, rate: float | None, head_multiplier: float) -> list[dict[str, Any]]:
    """Parameter groups for an optimizer: all at one rate, or the encoder's at ``rate`` and the others at a multiple.

    Args:
        model: its attribute ``encoder``, where it has one, holds the pretrained part.
        rate: learning rate of the encoder; None: the optimizer's default for all, without the multiplier.
        head_multiplier: learning rate of everything but the encoder, relative to ``rate``.
    """
    encoder = getattr(model, "encoder", None)
    if head_multiplier == 1 or encoder is None or rate is None:
        return [{"params": list(model.parameters())}]
    own = {id(p) for p in encoder.parameters()}
    head = [p for p in model.parameters() if id(p) not in own]
    return [{"params": list(encoder.parameters())}, {"params": head, "lr": rate * head_multiplier}]


def learning_rate_factor(step: int, steps: int, warmup_steps: int, power: float) -> float:
    """Linear rise over ``warmup_steps``, times the polynomial decay ``(1 - step/steps)^power``.

    Example:
        >>> [round(learning_rate_factor(t, 100, 10, 0.9), 3) for t in (0, 9, 50, 99)]
        [0.1, 0.919, 0.536, 0.016]
    """
    rise = min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
    return float(rise * (1 - step / steps) ** power)
