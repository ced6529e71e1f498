"""What a detection dataset hands out: images with boxes, in three subsets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from torch import Tensor


class BoxSample(NamedTuple):
    """One image with the objects in it.

    Attributes:
        image: uint8 ``(3, H, W)``, RGB.
        boxes: float32 ``(n, 4)``, left, top, right and bottom in pixels, from the image's upper left corner; None where
            no objects are known.
        classes: int64 ``(n,)``, from 0; None without boxes.
        crowd: bool ``(n,)``, boxes around many objects that were not told apart: no object is learned or missed in
            them; None without boxes.
        name: unique within the dataset.
    """

    image: Tensor
    boxes: Tensor | None
    classes: Tensor | None
    crowd: Tensor | None
    name: str


class BoxSamples(Protocol):
    """Samples by position, read when asked for; a list of them is one."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> BoxSample: ...


class DetectionSource(Protocol):
    """A dataset for semi-supervised detection: no image is in two of the subsets.

    Attributes:
        classes: names of the objects' classes, in the order of their ids.
        labelled: samples with boxes, to learn from.
        unlabelled: samples whose boxes no algorithm sees; where they are known, they serve diagnostics only.
        validation: samples with boxes, to measure on.
        most: the largest number of boxes in a sample.
    """

    @property
    def classes(self) -> Sequence[str]: ...

    @property
    def labelled(self) -> BoxSamples: ...

    @property
    def unlabelled(self) -> BoxSamples: ...

    @property
    def validation(self) -> BoxSamples: ...

    @property
    def most(self) -> int: ...
