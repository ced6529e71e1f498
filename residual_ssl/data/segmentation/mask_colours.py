"""Masks in colours: which class a colour stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from residual_ssl.data.images import exif_orientation, read_image
from residual_ssl.data.spec import Colour, DatasetSpec
from residual_ssl.errors import ConfigError, DataError

#: Name for colours of points without a label.
IGNORE = "ignore"
_SHOWN = 5

Colours = Mapping[str, Sequence[int] | Sequence[Sequence[int]]]


class MaskColours:
    """The meaning of the colours in mask files, RGB or with a palette.

    Args:
        colours: class name → ``(red, green, blue)`` in 0 … 255, or several of them; ``"ignore"`` → those of points
            without a label. Every class has at least one, and no colour stands for two.
        spec: the classes.

    Raises:
        ConfigError: with every fault found.

    Example:
        >>> spec = DatasetSpec(["ground", "building"])
        >>> colours = MaskColours({"ground": [0, 0, 0], "building": [200, 60, 60], "ignore": [255, 255, 255]}, spec)
        >>> colours.encode(torch.tensor([[[0, 200, 255]], [[0, 60, 255]], [[0, 60, 255]]], dtype=torch.uint8), "a.png")
        tensor([[  0,   1, 255]])
    """

    def __init__(self, colours: Colours, spec: DatasetSpec) -> None:
        found = _faults(colours, spec)
        if found:
            raise ConfigError("\n".join(f"mask_colours: {fault}" for fault in found))
        ids = {name: number for number, name in enumerate(spec.classes)} | {IGNORE: spec.ignore_index}
        meaning = {_packed(colour): ids[name] for name, several in colours.items() for colour in _several(several)}
        self._known = torch.tensor(sorted(meaning))
        self._target = torch.tensor([meaning[colour] for colour in self._known.tolist()])

    def read(self, file: str | Path, name: str | None = None) -> Tensor:
        """The class ids of a mask file, int64 ``(H, W)``.

        Raises:
            MissingDataError, DataError: a file that cannot be read, or has other colours.
        """
        if (turned := exif_orientation(file)) != 1:
            said = f"{name or file}: mask with the EXIF orientation {turned}, expected none; store it as its image"
            raise DataError(said, "orientation")
        return self.encode(read_image(file, name), str(name or file))

    def encode(self, pixels: Tensor, source: str) -> Tensor:
        """The class ids of colours uint8 ``(3, H, W)``.

        Raises:
            DataError: other colours; names some, with their shares.
        """
        values, where = torch.unique(_code(pixels), return_inverse=True)
        position = torch.searchsorted(self._known, values).clamp_(max=len(self._known) - 1)
        strange = self._known[position] != values
        if strange.any():
            shares = torch.bincount(where.flatten(), minlength=len(values))[strange] / where.numel()
            shown = ", ".join(
                f"{_shown(value)} ({share:.1%})"
                for value, share in list(zip(values[strange].tolist(), shares.tolist(), strict=True))[:_SHOWN]
            )
            raise DataError(
                f"{source}: {int(strange.sum())} colours are of no class: {shown}; give them in mask_colours, under "
                f"{IGNORE} where they mean no label. Blurred edges and JPEG invent colours: save masks sharp, as PNG",
                "ids",
            )
        return self._target[position][where]


def colour_shares(files: Sequence[Path]) -> dict[str, float]:
    """Colours in mask files as ``#rrggbb`` with their shares of the pixels, the most frequent first."""
    totals: dict[int, int] = {}
    for file in files:
        values, counts = torch.unique(_code(read_image(file)), return_counts=True)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            totals[value] = totals.get(value, 0) + count
    whole = max(sum(totals.values()), 1)
    return {_shown(value): totals[value] / whole for value in sorted(totals, key=lambda v: -totals[v])}


def holds_colours(file: Path) -> bool:
    """Whether a mask file has colours for pixels, and no ids; False where it cannot be read."""
    try:
        with Image.open(file) as image:
            return image.mode in ("RGB", "RGBA") and "16" not in str(image.tile[0].args if image.tile else "")  # type: ignore[attr-defined]
    except Exception:  # whatever a damaged file makes of a decoder; who reads it says so
        return False


def colour_of(text: str) -> Colour:
    """A colour of ``#rrggbb``.

    Raises:
        ConfigError: another text.

    Example:
        >>> colour_of("#c83c3c")
        (200, 60, 60)
    """
    digits = text.strip().removeprefix("#")
    try:
        if len(digits) != 6:
            raise ValueError
        red, green, blue = bytes.fromhex(digits)
    except ValueError as error:
        raise ConfigError(f"colours: got {text!r}, expected #rrggbb, as #c83c3c") from error
    return red, green, blue


def _faults(colours: Colours, spec: DatasetSpec) -> list[str]:
    strange = [name for name in colours if name not in spec.classes and name != IGNORE]
    found = [f"{name!r} is none of the classes {', '.join(spec.classes)}" for name in strange]
    found += [f"no colour for {name}; give one to every class" for name in spec.classes if not colours.get(name)]
    if IGNORE in spec.classes:
        found.append(f"a class is named {IGNORE!r}, which stands for colours without a label; rename the class")
    owners: dict[Colour, str] = {}
    for name, several in colours.items():
        for colour in _several(several):
            if len(colour) != 3 or not all(isinstance(value, int) and 0 <= value <= 255 for value in colour):
                found.append(f"got {list(colour)} for {name}, expected three integers in 0 … 255")
            elif owners.setdefault((colour[0], colour[1], colour[2]), name) != name:
                found.append(f"{list(colour)} stands for {owners[colour[0], colour[1], colour[2]]} and for {name}")
    return found


def _several(colours: Sequence[int] | Sequence[Sequence[int]]) -> list[Sequence[int]]:
    """One colour, or several, as a list of colours."""
    nested = [colour for colour in colours if isinstance(colour, Sequence)]
    return nested if nested and len(nested) == len(colours) else [colours]  # type: ignore[list-item]


def _packed(colour: Sequence[int]) -> int:
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def _code(pixels: Tensor) -> Tensor:
    red, green, blue = pixels.long().unbind(0)
    return red << 16 | green << 8 | blue


def _shown(code: int) -> str:
    return f"#{code:06x}"
