"""Pictures of detections."""

from __future__ import annotations

import PIL.Image
import torch
from PIL import ImageDraw
from torch import Tensor

from residual_ssl.data import default_palette

_SMALLEST = 256


def drawn_boxes(image: Tensor, boxes: Tensor, texts: list[str], classes: Tensor, trusted: Tensor) -> PIL.Image.Image:
    """Boxes ``(n, 4)`` with a text each on an image ``(3, H, W)`` in [0, 1], which is enlarged where it is small.

    Args:
        classes: int64 ``(n,)``, for the colour.
        trusted: bool ``(n,)``: full lines; others are thin and have a text in brackets.
    """
    pixels = (image.detach().cpu().clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    picture = PIL.Image.fromarray(pixels)
    factor = -(-_SMALLEST // min(picture.size))
    picture = picture.resize((picture.width * factor, picture.height * factor), PIL.Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(picture)
    palette = default_palette(int(classes.max()) + 1 if len(classes) else 1)
    wide = max(2, min(picture.size) // 150)
    for box, text, k, sure in zip(boxes.tolist(), texts, classes.tolist(), trusted.tolist(), strict=True):
        left, top, right, bottom = (side * factor for side in box)
        colour = palette[k]
        draw.rectangle((left, top, max(left, right), max(top, bottom)), outline=colour, width=wide if sure else 1)
        draw.text((left + wide + 1, top + wide), text if sure else f"({text})", fill=colour)
    return picture
