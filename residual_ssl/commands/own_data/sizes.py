"""Sizes of image files, and the settings that follow from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median_low
from typing import Any

from residual_ssl.data.channels import layout_of
from residual_ssl.errors import DataError, MissingPackageError

_LOOKED_AT = 200
_CROP = 321  # of the papers, on images of about 500 pixels
_BLOCK = 32  # side of a TrustedMask cell, at that crop
_WHOLE = 2_000_000  # pixels up to which an image is predicted in one pass
_CLASSIFIED = 64  # side to which images are resized: what a network without pretraining learns in minutes
_BATCH = 8
_PHOTOGRAPH = 128

#: Heading of the remark on networks.
NETWORK = "network"


def image_sizes(files: Sequence[Path], most: int = _LOOKED_AT) -> list[tuple[int, int]]:
    """(height, width) of image files as they are read, upright; of ``most`` of them, evenly spaced.

    Only headers are read. Files that are no images are left out: whoever reads them says what is wrong.
    """
    found = []
    for file in files[:: -(-len(files) // most) or 1]:
        try:
            layout = layout_of(file)
        except MissingPackageError:
            raise
        except Exception:  # whatever a damaged file makes of a decoder
            continue
        found.append((layout.height, layout.width))
    return found


def image_channels(files: Sequence[Path], most: int = _LOOKED_AT) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Settings of a data set whose images are not RGB of 8 bits, and what to say of it; empty where they are.

    Raises:
        DataError: images of different numbers of channels.
        MissingPackageError: a file that needs a package that is not installed.
    """
    seen: dict[tuple[int, bool], Path] = {}
    for file in files[:: -(-len(files) // most) or 1]:
        try:
            layout = layout_of(file)
        except DataError:  # whoever reads it says what is wrong
            continue
        seen.setdefault((layout.channels, layout.plain), file)
    counts = {channels for channels, plain in seen if not plain}
    if not counts:
        return {}, []
    if len({channels for channels, _ in seen}) > 1:
        shown = ", ".join(f"{path.name} {channels}" for (channels, _), path in seen.items())
        raise DataError(f"images: files of different numbers of channels ({shown}); keep those of one kind apart")
    number = counts.pop()
    said = f"{number} of more than 8 bits" if number in (1, 3) else f"{number}"
    remark = f"{said}; their range, mean and deviation come from the training images"
    return {"channels": number}, [("channels", remark)]


def middle_size(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The median height and the median width.

    Example:
        >>> middle_size([(10, 40), (20, 30), (90, 35)])
        (20, 35)
    """
    return median_low(height for height, _ in sizes), median_low(width for _, width in sizes)


def segmentation_settings(sizes: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Settings of a segmentation data set for images of these sizes.

    Crops are whole images up to 321 pixels a side, the cells of masked views an eighth of a crop and at most 32; images
    of more than two million pixels are evaluated by windows of the crop.

    Example:
        >>> segmentation_settings([(64, 64)])
        {'geometry': {'crop': [64, 64]}, 'mask_block': 8}
        >>> segmentation_settings([(3000, 4000)])["inference"]
        {'window': [321, 321]}
    """
    height, width = middle_size(sizes)
    crop = [min(height, _CROP), min(width, _CROP)]
    settings: dict[str, Any] = {"geometry": {"crop": crop}, "mask_block": mask_block(min(crop))}
    if height * width > _WHOLE:
        settings["inference"] = {"window": crop}
    return settings


def mask_block(crop: int) -> int:
    """Side of a TrustedMask cell: the power of two at or below an eighth of the crop, 1 to 32.

    Example:
        >>> [mask_block(side) for side in (4, 64, 100, 321)]
        [1, 8, 8, 32]
    """
    return max(1, min(_BLOCK, 1 << max(0, (crop // 8).bit_length() - 1)))


def classification_settings(sizes: Sequence[tuple[int, int]]) -> dict[str, int]:
    """Settings of a classification data set for images of these sizes: of their shorter sides, at most 64 pixels.

    Example:
        >>> classification_settings([(48, 60)])
        {'size': 48, 'padding': 6, 'mask_block': 12}
    """
    size = max(8, min(_CLASSIFIED, *middle_size(sizes)) // 8 * 8)
    return {"size": size, "padding": size // 8, "mask_block": size // 4}


def pretrained_hint(sizes: Sequence[tuple[int, int]]) -> list[tuple[str, str]]:
    """A remark for images large enough to be photographs: what they are learned better with."""
    if min(middle_size(sizes)) < _PHOTOGRAPH:
        return []
    return [(NETWORK, 'small and from scratch, for a first try; "Your own images" in the README has pretrained ones')]


def batches(labelled: int, unlabelled: int) -> dict[str, int]:
    """Batches of eight, and none with more samples than there are.

    Example:
        >>> batches(3, 100)
        {'labelled_batch': 3, 'unlabelled_batch': 8}
    """
    return {"labelled_batch": min(_BATCH, labelled), "unlabelled_batch": min(_BATCH, unlabelled or _BATCH)}
