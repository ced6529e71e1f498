"""Values that are not finite: where a network has them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


@torch.no_grad()
def non_finite_entries(network: nn.Module) -> list[str]:
    """Names of the parameters and of the running statistics of a network that hold a value that is not finite.

    Other buffers, a mask say, may hold infinity on purpose. One host synchronisation.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> _ = layer.weight.data.fill_(float("nan"))
        >>> non_finite_entries(layer)
        ['weight']
    """
    checked: dict[str, Tensor] = dict(network.named_parameters())
    checked |= {name: value for name, value in network.named_buffers() if "running_" in name.rsplit(".", 1)[-1]}
    if not checked:
        return []
    finite = _all_finite(checked.values()).tolist()
    return [name for name, good in zip(checked, finite, strict=True) if not good]


@torch.no_grad()
def gradients_finite(parameters: Iterable[Tensor]) -> bool:
    """True where every gradient of the parameters is finite. One host synchronisation."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return True
    # A sum of norms is finite only where all values are; one that overflows is as useless as infinity itself.
    norms = torch._foreach_norm(gradients, float("inf"))
    return bool(torch.stack([norm.float() for norm in norms]).sum().isfinite())


def _all_finite(tensors: Iterable[Tensor]) -> Tensor:
    device = None
    found = []
    for tensor in tensors:
        good = tensor.isfinite().all()
        device = good.device if device is None else device
        found.append(good.to(device))
    return torch.stack(found)
