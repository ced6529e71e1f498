"""BatchNorm layers that stay in eval mode while the rest of a model trains."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def freeze_layers(module: nn.Module) -> None:
    """Put the BatchNorm layers of a module into eval mode: to be called after every ``.train()``.

    Example:
        >>> layers = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
        >>> freeze_layers(layers)
        >>> [layer.training for layer in layers]
        [True, False]
    """
    for layer in module.modules():
        if isinstance(layer, _BatchNorm):
            layer.eval()
