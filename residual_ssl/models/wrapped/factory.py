"""Networks that a user's own package makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn


def network_of(
    num_classes: int, factory: Callable[..., nn.Module], target: str = "", arguments: Mapping[str, Any] | None = None
) -> nn.Module:
    """The network that ``factory(num_classes=K, **arguments)`` makes: any that maps images to logits.

    Args:
        num_classes: K.
        factory: a class or a function.
        target: what a configuration calls it, ``"package:factory"``; for the reader.
        arguments: further ones.

    Example:
        >>> network_of(4, lambda num_classes, width: nn.Conv2d(3, num_classes, width), arguments={"width": 3})
        Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1))
    """
    return factory(num_classes=num_classes, **(arguments or {}))
