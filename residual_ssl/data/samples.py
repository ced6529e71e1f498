"""What a segmentation dataset hands out: samples, in three subsets."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from residual_ssl.data.spec import DatasetSpec
from residual_ssl.data.splits.lists import ListEntry
from residual_ssl.errors import DataError


class Sample(NamedTuple):
    """One image with what is known of it.

    Attributes:
        image: uint8 ``(3, H, W)``, RGB.
        mask: int64 ``(H, W)``, class ids and the specification's ``ignore_index``, in unlabelled samples also
            :data:`~residual_ssl.data.OUTSIDE`; None where no labels are known.
        name: unique within the dataset, fit for a file name after replacing ``/``.
    """

    image: Tensor
    mask: Tensor | None
    name: str


class Samples(Protocol):
    """Samples by position, read when asked for; a list of samples is one. Fits ``torch.utils.data.DataLoader``."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


class ListedSamples(Samples, Protocol):
    """Samples of files or rows that a split list can name, and whose masks can be read alone."""

    def mask(self, index: int, /) -> Tensor | None:
        """The class ids of a sample at the size of their file, without reading its image; None where it has none."""

    def entry(self, index: int, /) -> ListEntry:
        """The line of a sample in a split list."""


class SegmentationSource(Protocol):
    """A dataset for semi-supervised segmentation: no image is in two of the subsets.

    Attributes:
        spec: the classes.
        labelled: samples with masks, to learn from.
        unlabelled: samples whose mask no algorithm sees; where it is filled, it serves diagnostics only.
        validation: samples with masks, to measure on.

    Example:
        >>> from residual_ssl.tasks.segmentation.digit_scenes import DigitScenes
        >>> source: SegmentationSource = DigitScenes(labelled=2, unlabelled=3, validation=1)
        >>> len(source.labelled), source.unlabelled[0].image.shape
        (2, torch.Size([3, 64, 64]))
    """

    @property
    def spec(self) -> DatasetSpec: ...

    @property
    def labelled(self) -> Samples: ...

    @property
    def unlabelled(self) -> Samples: ...

    @property
    def validation(self) -> Samples: ...


def files_of(samples: Any, index: int) -> tuple[Path | None, Path | None]:
    """The image file and the mask file of a sample; None for each that there is not: rows of tables, arrays."""
    return samples.files(index) if hasattr(samples, "files") else (None, None)


def check_same_size(image: Tensor, mask: Tensor | None, image_name: str, mask_name: str) -> None:
    """Check that an image ``(3, H, W)`` and its mask ``(H, W)`` are of one size.

    Raises:
        DataError: naming both with their sizes.
    """
    if mask is not None and mask.shape != image.shape[1:]:
        raise DataError(
            f"{image_name} is {_size(image.shape)} and its mask {mask_name} {_size(mask.shape)}; expected the same "
            "size (an image is turned by its EXIF orientation, a mask is not)",
            "size",
        )


def check_upright(mask: Tensor | None, orientation: int, image_name: str, mask_name: str) -> None:
    """Refuse a mask of an image that its EXIF orientation turns, where sizes do not say whether the mask is turned too.

    An image is read upright. A mask that has the size of the upright image, where that differs from the size as stored,
    was made for it. Otherwise nobody knows: annotation tools do the one or the other.

    Args:
        mask: ``(H, W)``, of the image's upright size; None for no mask.
        orientation: EXIF orientation of the image file, 1 to 8.
        image_name, mask_name: for the message.

    Raises:
        DataError: an orientation that turns the image to the same size.
    """
    if mask is None or orientation == 1:
        return
    if orientation >= 5 and mask.shape[0] != mask.shape[1]:
        return
    raise DataError(
        f"{image_name}: has the EXIF orientation {orientation}, by which it is turned when it is read; whether its "
        f"mask {mask_name} is to be turned too cannot be seen from their sizes. Store the image upright (as "
        "ImageMagick's mogrify -auto-orient does), and the mask to match",
        "orientation",
    )


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[-1]}×{shape[-2]} (width×height)"
