"""Predictions of a network of another library: a frozen teacher, or a second opinion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from residual_ssl.errors import ConfigError, DataError, InvalidInputError, MissingDataError
from residual_ssl.runtime.arguments import Positive, checked


class Prior(nn.Module):
    """What gives logits, frozen: in evaluation mode, without gradients, and in no checkpoint.

    Args:
        provider: ``provider(inputs (B, …)) -> logits (B, K, *S)``, a module or any callable. It gets the inputs of the
            data set, images as RGB in [0, 1], and normalises them as it needs.

    ``forward(inputs, like)`` gives the logits.

    Raises:
        ConfigError: logits of another shape than ``like``, those of the student.
    """

    def __init__(self, provider: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        if isinstance(provider, nn.Module):
            provider.requires_grad_(False).eval()
        self._provider = (provider,)  # in a tuple, as its weights are those of a file, and are not to be saved again

    @torch.no_grad()
    def forward(self, inputs: Tensor, like: Tensor) -> Tensor:
        provider = self._provider[0]
        if isinstance(provider, nn.Module):
            provider.to(inputs.device)
        logits = provider(inputs)
        if logits.shape != like.shape:
            raise ConfigError(
                f"algorithm.prior: gives logits of shape {tuple(logits.shape)}, expected {tuple(like.shape)}, as the "
                "network does; let it give one for each class, in the order of the data set's, at every point"
            )
        return logits


class ZeroShot(nn.Module):
    """A classifier by embeddings of its classes, as CLIP's of their names: ``x_k = s·cos(f(x), t_k)``.

    Args:
        encoder: ``encoder(images (B, 3, H, W)) -> f (B, D)``, or ``(B, D, *S)`` for points.
        embeddings: t, floating ``(K, D)``, or the path of a ``.safetensors`` file that holds it as ``embeddings``.
        scale: s > 0, 100 in CLIP.
        mean, std: normalisation of the encoder's images, RGB in [0, 1]; CLIP's.

    ``forward(images)`` gives logits ``(B, K, *S)`` of images in [0, 1].

    Raises:
        InvalidInputError: embeddings of another dtype or shape.
        MissingDataError, DataError: a file that is not there, or holds none.

    Source: CLIP, arXiv 2103.00020, §3.1.

    Example:
        >>> encoder = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())  # the mean colour
        >>> red_and_green = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        >>> classifier = ZeroShot(encoder, red_and_green, mean=[0.5] * 3, std=[1.0] * 3)
        >>> picture = torch.zeros(1, 3, 8, 8)
        >>> picture[:, 1] = 1
        >>> classifier(picture).argmax(1)
        tensor([1])
    """

    embeddings: Tensor
    mean: Tensor
    std: Tensor

    @checked
    def __init__(
        self,
        encoder: Callable[[Tensor], Tensor],
        embeddings: Tensor | str | Path,
        scale: Positive = 100.0,
        mean: Sequence[float] = (0.48145466, 0.4578275, 0.40821073),
        std: Sequence[float] = (0.26862954, 0.26130258, 0.27577711),
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.scale = scale
        held = embeddings if isinstance(embeddings, Tensor) else _read(Path(embeddings))
        if held.dim() != 2 or not held.is_floating_point():
            raise InvalidInputError(
                f"embeddings: got {held.dtype} of shape {tuple(held.shape)}, expected floating (K, D)"
            )
        self.register_buffer("embeddings", F.normalize(held.float(), dim=1))
        self.register_buffer("mean", torch.tensor(list(mean)).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(list(std)).view(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        features = F.normalize(self.encoder((images - self.mean) / self.std).float(), dim=1)
        return self.scale * torch.einsum("bd...,kd->bk...", features, self.embeddings)


def _read(path: Path) -> Tensor:
    if not path.is_file():
        raise MissingDataError(f"embeddings: {path} is not there")
    try:
        return safetensors.torch.load_file(path)["embeddings"]
    except (safetensors.SafetensorError, KeyError) as error:
        raise DataError(f"embeddings: {path} holds no tensor of that name ({error})") from error
