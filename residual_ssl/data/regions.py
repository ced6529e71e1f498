"""Region proposals of images: superpixels, or files that a segmentation model has made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from residual_ssl.data.images import read_mask
from residual_ssl.data.segmentation.listing import IMAGE_SUFFIXES
from residual_ssl.errors import DataError, InvalidInputError, MissingDataError, MissingPackageError
from residual_ssl.runtime.arguments import Count, Positive, checked


class SLIC:
    """Superpixels: regions of like colour, about equal in size, by k-means over colour and place.

    Args:
        segments: about how many of an image, ≥ 1.
        compactness: weight of place against colour, > 0; small values follow colours, large ones give squares.

    Call: ``(image, name) -> regions``
        image: uint8 ``(3, H, W)``, RGB.
        name: of the sample; not used.
        regions: int64 ``(H, W)``, ids from 0 on; each region is connected.

    About a tenth of a second for 360×480 pixels, anew whenever a sample is drawn, in the workers of the loader.

    Raises:
        MissingPackageError: scikit-image is not installed.

    Source: SLIC, R. Achanta et al., TPAMI 2012; the implementation of scikit-image.
    """

    @checked
    def __init__(self, segments: Count = 200, compactness: Positive = 10.0) -> None:
        self.segments = segments
        self.compactness = compactness

    def __call__(self, image: Tensor, name: str) -> Tensor:
        try:
            from skimage.segmentation import slic
        except ImportError as error:
            raise MissingPackageError("superpixels need scikit-image; pip install 'residual-ssl[regions]'") from error
        pixels: Any = rearrange(image, "c h w -> h w c").numpy()
        found = slic(pixels, n_segments=self.segments, compactness=self.compactness, start_label=0, channel_axis=-1)
        return torch.from_numpy(found).long()

    def __repr__(self) -> str:
        return f"SLIC(segments={self.segments}, compactness={self.compactness})"


class RegionFiles:
    """Regions that were made beforehand: an image file of ids for each sample, 8 or 16 bits, 0 for no region.

    The file of the sample ``train/a.jpg`` is ``FOLDER/train/a.png``. Masks of a model that overlap, as those of SAM,
    become such ids by :func:`merged_masks`.

    Args:
        folder: of the files.

    Call: ``(image, name) -> regions``, as of :class:`SLIC`; -1 for no region.

    Raises on reading:
        MissingDataError: no file for a sample.
        DataError: a file that cannot be read, or of another size than its image.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def __call__(self, image: Tensor, name: str) -> Tensor:
        stem = name[: name.rindex(".")] if name.lower().endswith(IMAGE_SUFFIXES) else name
        path = self.folder / f"{stem}.png"
        if not path.is_file():
            raise MissingDataError(f"{path}: no regions for the sample {name}; make them, or say regions=slic")
        ids = read_mask(path).long()
        if ids.shape != image.shape[1:]:
            raise DataError(
                f"{path}: regions of {ids.shape[1]}×{ids.shape[0]}, expected {image.shape[2]}×{image.shape[1]} "
                f"(width×height), as the sample {name} is",
                "size",
            )
        return ids - 1

    def __repr__(self) -> str:
        return f"RegionFiles({str(self.folder)!r})"


def merged_masks(masks: Tensor) -> Tensor:
    """Masks that may overlap as one map of ids, the smaller above the larger: what :class:`RegionFiles` reads.

    Args:
        masks: bool ``(M, H, W)``, as SAM's automatic generator gives them.

    Returns:
        int64 ``(H, W)``: 0 for no mask, else 1 + the place of the smallest mask there.

    Raises:
        InvalidInputError: masks of another dtype or shape.

    Example:
        >>> merged_masks(torch.tensor([[[True, True, True, False]], [[False, True, False, False]]]))
        tensor([[1, 2, 1, 0]])
    """
    if masks.dim() != 3 or masks.dtype != torch.bool:
        raise InvalidInputError(f"masks: got {masks.dtype} of shape {tuple(masks.shape)}, expected bool (M, H, W)")
    ids = torch.zeros(masks.shape[1:], dtype=torch.int64)
    for place in masks.flatten(1).sum(1).argsort(descending=True, stable=True).tolist():
        ids[masks[place]] = place + 1
    return ids
