"""A sheet of small pictures to look at: images with what is predicted of them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

_SIDE, _MARGIN, _LINE = 160, 8, 13
_COLUMNS = 6


def contact_sheet(pictures: Sequence[tuple[Sequence[Image.Image], Sequence[str]]]) -> Image.Image:
    """Pictures with lines of text below them, in rows.

    Args:
        pictures: of each cell, one or more pictures side by side, and the text.
    """
    font = ImageFont.load_default(size=11)
    wide = max((len(some) for some, _ in pictures), default=1)
    width = wide * _SIDE + (wide - 1) * 2
    most = width // 6  # letters to a line
    texts = [[part for line in lines for part in textwrap.wrap(line, most)[:2]] for _, lines in pictures]
    height = _SIDE + _LINE * max((len(lines) for lines in texts), default=1) + 2
    columns = max(1, min(_COLUMNS // wide if wide > 1 else _COLUMNS, len(pictures)))
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (width + _MARGIN) + _MARGIN, rows * (height + _MARGIN) + _MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    for number, ((some, _), lines) in enumerate(zip(pictures, texts, strict=True)):
        left = _MARGIN + number % columns * (width + _MARGIN)
        top = _MARGIN + number // columns * (height + _MARGIN)
        for i, picture in enumerate(some):
            small = _fitted(picture.convert("RGB"))
            place = left + i * (_SIDE + 2) + (_SIDE - small.width) // 2
            sheet.paste(small, (place, top + (_SIDE - small.height) // 2))
        for i, line in enumerate(lines):
            draw.text((left, top + _SIDE + 2 + i * _LINE), line, fill="black", font=font)
    return sheet


def _fitted(picture: Image.Image) -> Image.Image:
    factor = _SIDE / max(picture.size)
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    return picture.resize(size, Image.Resampling.NEAREST if factor > 2 else Image.Resampling.LANCZOS)
