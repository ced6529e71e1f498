"""Networks made for RGB, changed to take images of other numbers of channels."""

from __future__ import annotations

from timm.models import adapt_input_conv
from torch import nn

from residual_ssl.errors import ConfigError

RGB = 3


def adapt_channels(network: nn.Module, channels: int) -> None:
    """Make the first convolution of a network that takes RGB take another number of channels, in place.

    Its weights are kept as timm does: summed for one channel; for more, repeated in turn and scaled by 3/C, so that
    activations keep their size. A network whose first convolution takes C channels is left as it is.

    Args:
        network: with a convolution of three channels, not grouped.
        channels: C ≥ 1.

    Raises:
        ConfigError: no such convolution.

    Source: ``timm.models.adapt_input_conv``.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1))
        >>> adapt_channels(network, 5)
        >>> network[0].weight.shape
        torch.Size([8, 5, 3, 3])
    """
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    if convolutions and convolutions[0].in_channels == channels:
        return
    stem = next((module for module in convolutions if module.in_channels == RGB and module.groups == 1), None)
    if stem is None:
        raise ConfigError(
            f"model: {type(network).__name__} has no convolution of three channels that could take {channels}; choose "
            "a network that takes in_channels"
        )
    adapted = adapt_input_conv(channels, stem.weight.data).contiguous()
    stem.weight = nn.Parameter(adapted, requires_grad=stem.weight.requires_grad)
    stem.in_channels = channels
