"""The device that a command runs on."""

from __future__ import annotations

import torch

from residual_ssl.errors import ConfigError


def checked_device(device: str) -> str:
    """The device as given, ``"auto"`` or one that PyTorch knows and that is there.

    Raises:
        ConfigError: another name, or a device that is not there.
    """
    if device == "auto":
        return device
    try:
        torch.empty(1, device=torch.device(device)).add_(1)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError, ImportError) as error:
        raise ConfigError(f"device: got {device!r}, expected auto, cpu, or a device that is here, cuda:0") from error
    return device
