"""Pictures of a report: what is drawn of samples, and how pictures and figures become part of the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import matplotlib
import numpy as np
import PIL.Image
import torch
from einops import rearrange
from matplotlib.figure import Figure
from torch import Tensor

from residual_ssl.selection import Selection

# Right and wrong by hue, trusted and not by strength: told apart with any common colour vision.
OUTCOMES = (
    ("right, trusted", "#0072B2"),
    ("right, not trusted", "#B5D9F0"),
    ("wrong, trusted", "#D55E00"),
    ("wrong, not trusted", "#F6CFAE"),
)
NOT_JUDGED = "#808080"

_SMALLEST, _LARGEST = 128, 384


@dataclass(frozen=True)
class Picture:
    """A PNG as a page shows it.

    Attributes:
        data: base64.
        description: what it shows, for those who do not see it.
        width, height: in pixels of the page.
    """

    data: str
    description: str
    width: int
    height: int


@runtime_checkable
class DrawnTask(Protocol):
    """A task whose samples are images and whose labels are maps of the same size."""

    class_names: tuple[str, ...]
    ignore_index: int

    def view(self, inputs: Tensor, kind: str) -> Tensor:
        """Views of dataset inputs."""

    def display(self, view: Tensor) -> Tensor:
        """Views as images ``(B, 3, H, W)`` in [0, 1]."""

    def plane(self, points: Tensor) -> Tensor:
        """Points ``(*S)`` as ``(H, W)``; see :meth:`residual_ssl.Task.plane`."""

    def draw_labels(self, label: Tensor) -> Tensor:
        """Class ids ``(*S)``, or laid out as ``(H, W)``, as colours ``(3, H, W)`` in [0, 1]."""


def shown_input(task: DrawnTask, inputs: Tensor) -> Tensor:
    """A dataset input, without the batch dimension, as an image ``(3, H, W)`` in [0, 1]."""
    return task.display(task.view(inputs.unsqueeze(0), "plain"))[0]


def class_name(names: Sequence[str], label: int) -> str:
    """Name of a class id; of one out of range, what out-of-class means."""
    return names[label] if 0 <= label < len(names) else "none of the classes"


def outcome_map(selection: Selection, truth: Tensor, known: Tensor) -> Tensor:
    """Where pseudo-labels are right and where they are trusted, in the colours of ``OUTCOMES``.

    Args:
        selection: tensors of shape ``(H, W)``.
        truth: class ids ``(H, W)``.
        known: bool ``(H, W)``, False where nothing is known: drawn grey.

    Returns:
        float ``(3, H, W)`` in [0, 1].
    """
    colours = torch.tensor([_rgb(colour) for _, colour in OUTCOMES] + [_rgb(NOT_JUDGED)])
    outcome = 2 * (selection.label != truth).long() + (~selection.trusted).long()
    return rearrange(colours[torch.where(known, outcome, len(OUTCOMES))], "h w c -> c h w")


def trust_map(selection: Selection) -> Tensor:
    """Weights ``(H, W)`` as colours, dark for 0 and bright for 1, grey where a point was not judged; ``(3, H, W)``."""
    colours = matplotlib.colormaps["viridis"](selection.weight.numpy())[..., :3].astype(np.float32)
    grey = torch.tensor(_rgb(NOT_JUDGED))
    shown = torch.where(selection.valid.unsqueeze(-1), torch.from_numpy(colours), grey)
    return rearrange(shown, "h w c -> c h w")


def picture(pixels: Tensor, description: str) -> Picture:
    """Float ``(3, H, W)`` in [0, 1] as a picture: enlarged by a whole factor where small, averaged where large."""
    array = rearrange((pixels.clamp(0, 1) * 255).round().to(torch.uint8), "c h w -> h w c")
    image = PIL.Image.fromarray(array.numpy())
    factor = -(-_SMALLEST // min(image.size))
    if factor > 1:
        image = image.resize((image.width * factor, image.height * factor), PIL.Image.Resampling.NEAREST)
    elif max(image.size) > _LARGEST:
        image = image.reduce(-(-max(image.size) // _LARGEST))
    return _encoded(image, description, image.width, image.height)


def figure_image(figure: Figure, description: str) -> Picture:
    """A figure as a picture, sharp on dense screens."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, facecolor="white")
    image = PIL.Image.open(buffer)
    return _encoded(image, description, image.width // 2, image.height // 2)


def _encoded(image: PIL.Image.Image, description: str, width: int, height: int) -> Picture:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="PNG", optimize=True)
    return Picture(base64.b64encode(buffer.getvalue()).decode(), description, width, height)


def _rgb(colour: str) -> tuple[float, float, float]:
    red, green, blue = bytes.fromhex(colour[1:])
    return red / 255, green / 255, blue / 255
