"""A timm network in evaluation mode without gradients, whose features are computed once and kept on disk."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from residual_ssl.tasks.normalisation import IMAGENET_MEAN, IMAGENET_STD, Normalisation

#: Environment variable with the folder of cached features; without it they lie in ~/.cache/residual_ssl/features.
CACHE = "RESIDUAL_SSL_CACHE"


class FrozenNetwork(ABC):
    """What frozen networks share: how they are built, how their input is normalised, and a fingerprint.

    Args:
        name: a model of timm.
        weights: as of :func:`~residual_ssl.models.create_backbone`; random ones come from a fixed seed.
        mean, std: normalisation of the input, of each channel in [0, 1].
        backbone_options: further arguments of ``timm.create_model``.
    """

    def __init__(
        self,
        name: str,
        weights: str | Path | None = None,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        backbone_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.weights = weights
        self.normalisation = Normalisation(mean, std)
        self.options = dict(backbone_options or {})

    @abstractmethod
    def create(self) -> nn.Module:
        """The network, as timm makes it."""

    @cached_property
    def network(self) -> nn.Module:
        """The network, in evaluation mode, on the GPU where there is one."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = self.create()
        return network.eval().requires_grad_(False).to("cuda" if torch.cuda.is_available() else "cpu")

    def normalised(self, images: Tensor) -> Tensor:
        """Images in [0, 1], ``(B, C, H, W)``, as the input of :attr:`network`, on its device."""
        return self.normalisation(images.to(next(self.network.parameters()).device))

    def fingerprint(self) -> str:
        """What the features depend on beside the images: the weights by their content, all settings."""
        return repr((self.name, self._content, sorted(self.options.items()), *self.settings()))

    def settings(self) -> tuple[Any, ...]:
        """Settings that the features depend on, values whose ``repr`` tells them all."""
        return (self.normalisation.mean, self.normalisation.std)

    @cached_property
    def _content(self) -> object:
        file = Path(self.weights) if self.weights is not None else None
        return hashlib.sha256(file.read_bytes()).hexdigest() if file is not None and file.is_file() else self.weights


def cache_folder() -> Path:
    """Folder of cached features."""
    return Path(os.environ.get(CACHE) or Path.home() / ".cache" / "residual_ssl" / "features")
