"""Learning rates: which parameters learn how fast, and when."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from residual_ssl.config.components import build
from residual_ssl.config.settings import Settings
from residual_ssl.errors import ConfigError


def build_optimizer(settings: Settings, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of a run over the parameters of a model, its learning rates scaled to the batch."""
    rate = scaled_rate(settings.optimizer.get("lr"), settings.labelled_batch, settings.reference_batch)
    config: Mapping[str, Any] = settings.optimizer if rate is None else {**settings.optimizer, "lr": rate}
    groups = parameter_groups(model, rate, settings.head_lr_multiplier, settings.layer_decay)
    optimizer: torch.optim.Optimizer = build({**config, "_partial_": True}, "optimizer")(groups)
    return optimizer


def parameter_groups(
    model: nn.Module, rate: float | None, head_multiplier: float, layer_decay: float = 1.0
) -> list[dict[str, Any]]:
    """Parameter groups for an optimizer: all at one rate, or parts of the model at multiples of it.

    Args:
        model: its attribute ``encoder``, where it has one, holds the pretrained part; its ``parameter_layers()``, where
            it has that, gives the parameters of each layer from the input to the head.
        rate: learning rate of the encoder; None: the optimizer's default for all, without the multipliers.
        head_multiplier: learning rate of everything but the encoder, relative to ``rate``.
        layer_decay: learning rate of each layer relative to that of the layer behind it; the last one's is ``rate``.

    Raises:
        ConfigError: layer decay for a model whose layers are not known, or together with a head multiplier.

    Source: layer-wise decay of ELECTRA, arXiv 2003.10555, as vision transformers are fine-tuned in USB, arXiv
    2208.07204.
    """
    if layer_decay != 1:
        if head_multiplier != 1 or rate is None or not hasattr(model, "parameter_layers"):
            raise ConfigError(
                f"layer_decay: got {layer_decay} for {type(model).__name__} with head_lr_multiplier {head_multiplier} "
                f"and optimizer.lr {rate}, expected a model with layers, a multiplier of 1 and a rate; set it to 1"
            )
        layers: list[list[nn.Parameter]] = model.parameter_layers()  # type: ignore[operator]
        return [
            {"params": layer, "lr": rate * layer_decay ** (len(layers) - 1 - depth)}
            for depth, layer in enumerate(layers)
        ]
    encoder = getattr(model, "encoder", None)
    if head_multiplier == 1 or encoder is None or rate is None:
        return [{"params": list(model.parameters())}]
    encoder_ids = {id(p) for p in encoder.parameters()}
    head = [p for p in model.parameters() if id(p) not in encoder_ids]
    return [{"params": list(encoder.parameters())}, {"params": head, "lr": rate * head_multiplier}]


def scaled_rate(rate: float | None, batch: int, reference_batch: int | None) -> float | None:
    """A learning rate that belongs to ``reference_batch``, for another batch: in proportion. None: unchanged.

    Source: Goyal et al., arXiv 1706.02677, §2.1 (linear scaling rule).

    Example:
        >>> scaled_rate(0.001, 32, 8), scaled_rate(0.001, 32, None)
        (0.004, 0.001)
    """
    return rate if rate is None or reference_batch is None else rate * batch / reference_batch


def learning_rate_factor(step: int, steps: int, warmup_steps: int, schedule: str, power: float) -> float:
    """Linear rise over ``warmup_steps``, times the decay.

    Args:
        step, steps: number of the step, from 0 on, and of all steps.
        warmup_steps: length of the rise.
        schedule: ``"polynomial"``, ``(1 - step/steps)^power``, or ``"cosine"``, ``cos(7π/16 · step/steps)``.
        power: of the polynomial.

    Source: the cosine that ends at a fifth of the rate is FixMatch's, arXiv 2001.07685, §2.4.

    Example:
        >>> [round(learning_rate_factor(t, 100, 10, "polynomial", 0.9), 3) for t in (0, 9, 50, 99)]
        [0.1, 0.919, 0.536, 0.016]
        >>> [round(learning_rate_factor(t, 100, 0, "cosine", 0.9), 3) for t in (0, 50, 100)]
        [1.0, 0.773, 0.195]
    """
    rise = min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
    share = step / steps
    return float(rise * (math.cos(7 * math.pi / 16 * share) if schedule == "cosine" else (1 - share) ** power))
