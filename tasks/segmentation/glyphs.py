"""Printed characters as small grey images, in the format of scikit-learn's handwritten digits."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Glyphs = tuple[NDArray[np.float32], NDArray[np.int64]]

# Without those that a hand writes as it writes a digit: O 0, I J L 1, Z 2, B 8, S 5, G 6, Q 9, D 0.
LETTERS = "ACEFHKMNPRTUVWXY"
DIGITS = "0123456789"

_FONTS = ("DejaVuSans.ttf", "DejaVuSans-Oblique.ttf", "DejaVuSerif.ttf", "DejaVuSansMono.ttf", "DejaVuSerif-Italic.ttf")
_CANVAS, _POINTS = 64, 44
_TURN, _SHEAR, _SQUEEZE = 12.0, 0.2, (0.75, 1.0)


def printed_glyphs(characters: str, count: int, rng: np.random.Generator) -> Glyphs:
    """Characters printed in fonts that come with matplotlib, each turned, sheared and squeezed a little.

    Args:
        characters: what to print, evenly often.
        count: number of images.
        rng: source of all choices.

    Returns:
        intensities float32 ``(count, 8, 8)`` in [0, 1], and the index of each character int64 ``(count,)``.

    Example:
        >>> images, labels = printed_glyphs("AX", 6, np.random.default_rng(0))
        >>> images.shape, sorted(labels.tolist())
        ((6, 8, 8), [0, 0, 0, 1, 1, 1])
    """
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    fonts = [ImageFont.truetype(str(folder / name), _POINTS) for name in _FONTS]
    labels = rng.permutation(np.arange(count) % len(characters)).astype(np.int64)
    images = np.stack([_printed(characters[label], fonts[rng.integers(len(fonts))], rng) for label in labels])
    return images, labels


def _printed(character: str, font: ImageFont.FreeTypeFont, rng: np.random.Generator) -> NDArray[np.float32]:
    canvas = Image.new("L", (_CANVAS, _CANVAS))
    ImageDraw.Draw(canvas).text((_CANVAS / 2, _CANVAS / 2), character, fill=255, font=font, anchor="mm")
    canvas = canvas.rotate(rng.uniform(-_TURN, _TURN), Image.Resampling.BICUBIC)
    shear, width = rng.uniform(-_SHEAR, _SHEAR), rng.uniform(*_SQUEEZE)
    middle = _CANVAS / 2
    matrix = (1 / width, shear, middle - middle / width - shear * middle, 0, 1, 0)
    canvas = canvas.transform((_CANVAS, _CANVAS), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    box = canvas.getbbox()
    # A square around the ink, with a margin as the handwritten digits have.
    left, top, right, bottom = box if box is not None else (0, 0, _CANVAS, _CANVAS)
    half = 0.55 * max(right - left, bottom - top)
    x, y = (left + right) / 2, (top + bottom) / 2
    square = canvas.crop((round(x - half), round(y - half), round(x + half), round(y + half)))
    ink: NDArray[np.float32] = np.array(square.resize((8, 8), Image.Resampling.BOX), dtype=np.float32)
    ink /= max(float(ink.max()), 1.0)
    return ink
