"""Pictures of predictions: palette labels, overlays, heat maps."""

from __future__ import annotations

import matplotlib
import numpy as np
import PIL.Image
import torch
from einops import rearrange
from torch import Tensor

from residual_ssl.data import OUTSIDE, DatasetSpec

_VOID = (255, 255, 255)
_STRIP = 256  # rows


def coloured(label: Tensor, spec: DatasetSpec) -> Tensor:
    """Class ids ``(H, W)`` in the colours of the specification, float ``(3, H, W)`` in [0, 1].

    Ignored points, and those of no class, are white.
    """
    colours = torch.tensor(_palette(spec), dtype=torch.float32, device=label.device) / 255
    known = torch.where((label == spec.ignore_index) | (label == OUTSIDE), spec.num_classes, label)
    return rearrange(colours[known], "h w c -> c h w")


def overlay(image: Tensor, label: Tensor, spec: DatasetSpec, opacity: float = 0.55) -> Tensor:
    """Class colours over an image ``(3, H, W)`` in [0, 1]; class 0 is left clear where it is named background."""
    colours = coloured(label, spec)
    strength = torch.full_like(image[:1], opacity)
    if spec.classes[0] == "background":
        strength = torch.where(label == 0, 0.0, strength)
    return image * (1 - strength) + colours * strength


def overlay_image(image: Tensor, label: Tensor, spec: DatasetSpec) -> PIL.Image.Image:
    """:func:`overlay` as a picture, made by strips: large photographs take no more memory than the picture itself."""
    height, width = label.shape
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _STRIP):
        rows = slice(top, top + _STRIP)
        mixed = overlay(image[:, rows], label[rows], spec).detach().clamp(0, 1) * 255
        pixels[rows] = rearrange(mixed.round().to(torch.uint8).cpu(), "c h w -> h w c").numpy()
    return PIL.Image.fromarray(pixels)


def heat_image(values: Tensor) -> PIL.Image.Image:
    """Values ``(H, W)`` in [0, 1] as a picture of 256 colours, dark for 0 and bright for 1."""
    levels = (values.detach().float().clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    colours = (matplotlib.colormaps["viridis"](np.arange(256))[:, :3] * 255).round().astype(np.uint8)
    return PIL.Image.fromarray(colours[levels])


def label_image(label: Tensor, spec: DatasetSpec) -> PIL.Image.Image:
    """Class ids ``(H, W)`` as a palette image: pixel values are the ids, colours those of the specification.

    A palette has room for 255 classes and void; ids of more classes give a grey image of 16 bits.
    """
    if spec.num_classes > 255:
        return PIL.Image.fromarray(label.cpu().numpy().astype(np.uint16))
    picture = PIL.Image.fromarray(label.to(torch.uint8).cpu().numpy(), mode="P")
    colours = [channel for colour in _palette(spec)[:-1] for channel in colour]
    picture.putpalette(colours + [0] * (768 - len(colours) - 3) + list(_VOID))
    return picture


def _palette(spec: DatasetSpec) -> list[tuple[int, int, int]]:
    return [*spec.palette, _VOID]
