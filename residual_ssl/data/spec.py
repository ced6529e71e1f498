"""What the labels of a dataset mean: classes, colours, and which raw ids stand for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from residual_ssl.errors import ConfigError, DataError, InvalidInputError

Colour = tuple[int, int, int]

#: Mask id of unlabelled points known to belong to none of the classes: no pseudo-label is right there.
OUTSIDE = -1


@dataclass(frozen=True, init=False)
class DatasetSpec:
    """Classes of a dataset and the meaning of the ids in its mask files; the only place that knows their number.

    Args:
        classes: at least two unique names; the position of a name is its class id, 0 … K-1.
        palette: one ``(red, green, blue)`` in 0 … 255 for each class; None for :func:`default_palette`.
        ignore_index: the value of pixels that no loss and no metric counts; not one of 0 … K-1.
        label_map: for mask files with ids of their own: raw id → class id, ``ignore_index``, or :data:`OUTSIDE` for a
            class that is none of these and is in the pool: labels and validation ignore it, and in the truth of
            unlabelled images no pseudo-label is right there. It is complete: an id that is not in it is an error. None
            where the files hold 0 … K-1 and ``ignore_index`` already.

    Attributes hold the same, as tuples and a dict; ``palette`` is always filled.

    Raises:
        ConfigError: with every fault found, not only the first.

    Example:
        >>> spec = DatasetSpec(["road", "car"], label_map={7: 0, 26: 1, 0: 255})
        >>> spec.num_classes
        2
        >>> spec.encode(torch.tensor([[7, 26, 0]]), source="a.png")
        tensor([[  0,   1, 255]])
    """

    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    ignore_index: int
    label_map: Mapping[int, int] | None = field(hash=False)

    def __init__(
        self,
        classes: Sequence[str],
        palette: Sequence[Sequence[int]] | None = None,
        ignore_index: int = 255,
        label_map: Mapping[int, int] | None = None,
    ) -> None:
        faults = [
            *_class_faults(classes),
            *_palette_faults(palette, len(classes)),
            *_label_map_faults(ignore_index, label_map, len(classes)),
        ]
        if faults:
            raise ConfigError("\n".join(["dataset specification:", *(f"- {fault}" for fault in faults)]))
        colours = default_palette(len(classes)) if palette is None else tuple((r, g, b) for r, g, b in palette)
        # A frozen dataclass admits no plain assignment; sequences come in here, everyone else sees tuples.
        object.__setattr__(self, "classes", tuple(classes))
        object.__setattr__(self, "palette", colours)
        object.__setattr__(self, "ignore_index", ignore_index)
        object.__setattr__(self, "label_map", None if label_map is None else dict(label_map))

    @property
    def num_classes(self) -> int:
        """K, the number of classes; the ignored value is none of them."""
        return len(self.classes)

    def encode(self, mask: Tensor, source: str, *, outside: bool = False) -> Tensor:
        """Class ids of a mask as it is in its file.

        Args:
            mask: raw ids, integer ``(H, W)``.
            source: the file that it came from, for the message.
            outside: True keeps :data:`OUTSIDE`, as the truth of unlabelled images; False ignores it.

        Returns:
            int64 ``(H, W)``, values in 0 … K-1, ``ignore_index`` or, where asked for, :data:`OUTSIDE`.

        Raises:
            DataError: ids that the specification does not know.
            InvalidInputError: a mask that is not an integer ``(H, W)`` tensor.
        """
        if mask.dim() != 2 or mask.is_floating_point() or mask.dtype == torch.bool:
            raise InvalidInputError(
                f"mask: got {mask.dtype} of shape {tuple(mask.shape)}, expected integer raw ids of shape (H, W)"
            )
        meaning = self.label_map or {i: i for i in (*range(self.num_classes), self.ignore_index)}
        known = torch.tensor(sorted(meaning))
        target = torch.tensor([meaning[i] for i in known.tolist()])
        # Translated once per id, not per pixel: masks are large, ids are few.
        if mask.dtype == torch.uint8:
            ids, where = torch.arange(256), mask.long()
        else:
            ids, where = torch.unique(mask.long(), return_inverse=True)
        position = torch.searchsorted(known, ids).clamp_(max=len(known) - 1)
        strange = known[position] != ids
        if strange[where].any():
            found = torch.unique(ids[where][strange[where]]).tolist()
            raise DataError(
                f"{source}: label ids {_ranges(found)} are not in the dataset specification, which knows "
                f"{_ranges(known.tolist())}; give label_map with every raw id, e.g. {{…, {found[0]}: "
                f"{self.ignore_index}}} to ignore one, or correct the mask",
                "ids",
            )
        if not outside:
            target[target == OUTSIDE] = self.ignore_index
        return target[position][where]


def default_palette(num_classes: int) -> tuple[Colour, ...]:
    """Distinct colours for any number of classes, black for class 0: the colour map of PASCAL VOC.

    Source: the PASCAL VOC development kit (``VOClabelcolormap``).

    Example:
        >>> default_palette(3)
        ((0, 0, 0), (128, 0, 0), (0, 128, 0))
    """

    def channel(index: int, offset: int) -> int:
        # Bits offset, offset+3, … of the class id, most significant first.
        return sum((index >> 3 * bit + offset & 1) << 7 - bit for bit in range(8))

    return tuple((channel(i, 0), channel(i, 1), channel(i, 2)) for i in range(num_classes))


def _class_faults(classes: Sequence[str]) -> list[str]:
    if isinstance(classes, str) or not all(isinstance(name, str) for name in classes):
        return [f"classes: got {classes!r}, expected a list of names"]
    if len(classes) < 2:
        return [f"classes: got {len(classes)}, expected at least 2 (name the background too)"]
    repeated = sorted({name for name in classes if list(classes).count(name) > 1})
    return [f"classes: {', '.join(repeated)} given more than once; names must be unique"] if repeated else []


def _palette_faults(palette: Sequence[Sequence[int]] | None, count: int) -> list[str]:
    if palette is None:
        return []
    faults = []
    if len(palette) != count:
        faults.append(f"palette: got {len(palette)} colours for {count} classes; give one each, or none for a default")
    for colour in palette:
        if isinstance(colour, str) or len(colour) != 3 or not all(_is_id(v) and 0 <= v <= 255 for v in colour):
            faults.append(f"palette: got {colour!r}, expected three integers in 0 … 255")
    return faults


def _label_map_faults(ignore_index: int, label_map: Mapping[int, int] | None, count: int) -> list[str]:
    faults = []
    if not _is_id(ignore_index) or 0 <= ignore_index < count:
        faults.append(f"ignore_index: got {ignore_index!r}, expected an integer outside the class ids 0 … {count - 1}")
    if label_map is None:
        return faults
    if not label_map:
        faults.append("label_map: got an empty map; leave it out where the files hold class ids already")
    for raw, target in label_map.items():
        if not _is_id(raw):
            faults.append(f"label_map: got the raw id {raw!r}, expected an integer")
        if not _is_id(target) or not (0 <= target < count or target in (ignore_index, OUTSIDE)):
            faults.append(
                f"label_map: {raw!r} → {target!r}, expected a class id 0 … {count - 1}, ignore_index {ignore_index}, "
                f"or {OUTSIDE} for a class that is none of these"
            )
    return faults


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _ranges(ids: Sequence[int]) -> str:
    """Ascending ids in short: 0–10, 255."""
    runs: list[list[int]] = []
    for i in ids:
        if runs and i == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], i]
        else:
            runs.append([i])
    return ", ".join("–".join(map(str, run)) for run in runs)
