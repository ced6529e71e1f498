"""BatchNorm on several processes: statistics of all of them, or of each and averaged afterwards."""

from __future__ import annotations

import torch
import torch.distributed as dist
from timm.layers import convert_sync_batchnorm
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from residual_ssl.errors import ConfigError


def synchronised(model: nn.Module, device: torch.device, processes: int) -> nn.Module:
    """The model with BatchNorm layers that normalise by the batches of all processes; itself on one process.

    timm's conversion, as torch's own loses the activation within timm's layers. Parameters and their names stay.

    Raises:
        ConfigError: several processes on CPUs, where torch has no such layer.
    """
    if processes == 1:
        return model
    if device.type == "cpu":
        raise ConfigError("sync_batchnorm: got true for processes on CPUs, expected GPUs; set sync_batchnorm=false")
    converted: nn.Module = convert_sync_batchnorm(model)
    return converted.train(model.training)


@torch.no_grad()
def average_running_statistics(model: nn.Module) -> None:
    """Make running statistics, which each process has gathered from its own samples, their mean on all processes.

    What evaluates, teaches and goes into checkpoints is then one network. In one collective call; nothing on a single
    process, or where layers are synchronised already.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return
    found = [
        statistic
        for layer in model.modules()
        if isinstance(layer, _BatchNorm) and layer.training and not isinstance(layer, nn.SyncBatchNorm)
        for statistic in (layer.running_mean, layer.running_var)
        if statistic is not None
    ]
    if not found:
        return
    flat = torch.cat([statistic.flatten() for statistic in found])
    dist.all_reduce(flat)
    means = torch.split(flat / dist.get_world_size(), [statistic.numel() for statistic in found])
    for statistic, mean in zip(found, means, strict=True):
        statistic.copy_(mean.view_as(statistic))
