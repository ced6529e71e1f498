"""The channels of a task's images: how their values become inputs in [0, 1], how these are normalised, and shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from residual_ssl.data import ImageReading
from residual_ssl.data.channels import layout_of
from residual_ssl.data.rasters import Part
from residual_ssl.errors import ConfigError, DataError, MissingDataError
from residual_ssl.perturbations import Photometric
from residual_ssl.task import Batch
from residual_ssl.tasks.normalisation import IMAGENET_MEAN, IMAGENET_STD, Normalisation

_LOOKED_AT = 200  # images that statistics are taken of,
_PIXELS = 20_000  # and pixels of each
_OUTSIDE = 0.1  # per cent of the values on either side of the range
_STRETCH = (2, 98)  # per cent of a picture's values that become black and white
_SMALLEST = 1 / 255

Values = float | Sequence[float]


class Images(Protocol):
    """Samples with an image ``(C, H, W)`` each, by position."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class ImageChannels:
    """Images of RGB with 8 bits, as photographs are, or of other channels and depths.

    Values of 8 bits become inputs as 0 … 255; others as ``value_range``, in which smaller and larger ones are cut off
    and those that are not finite become 0.

    Args:
        channels: of the image files, 1 … 16; None for RGB of 8 bits.
        value_range: the values of a file that become 0 and 1, each one number or one for each channel; None to
            estimate it from the training images: all but 0.1 % of the values of a channel on either side.
        mean, std: normalisation of the model's input, of each channel in [0, 1]; None for those of ImageNet where
            ``channels`` is None, else to estimate them.
        shown: three channels, from 0 on, that pictures show as red, green and blue; None for the first three. Fewer
            than three are shown as grey. Unless they are RGB of 8 bits, pictures are stretched from the 2nd to the
            98th percentile of each channel.

    Raises:
        ConfigError: numbers of channels that contradict each other; a range without an extent.
    """

    def __init__(
        self,
        channels: int | None = None,
        value_range: Sequence[Values] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        shown: Sequence[int] | None = None,
    ) -> None:
        self.reading = ImageReading(channels)
        self.channels = channels
        self._statistics: tuple[tuple[float, ...], tuple[float, ...]] | None = None
        if channels is None:
            self._statistics = (IMAGENET_MEAN, IMAGENET_STD)
        if (mean is None) != (std is None):
            raise ConfigError(f"mean, std: got {mean} and {std}, expected both or neither")
        if mean is not None and std is not None:
            self._statistics = (tuple(mean), tuple(std))
        self.count = channels or len(self._statistics[0] if self._statistics else IMAGENET_MEAN)
        if self._statistics is not None and len(self._statistics[0]) != self.count:
            raise ConfigError(
                f"mean, std: got {len(self._statistics[0])} values for {self.count} channels; give one for each, or "
                "null to estimate them from the training images"
            )
        self._range = None if value_range is None else _range_of(value_range, self.count)
        if shown is not None and (len(shown) != 3 or not all(0 <= number < self.count for number in shown)):
            raise ConfigError(f"shown: got {list(shown)}, expected three of the channels 0 to {self.count - 1}")
        self._shown = shown
        self.normalisation = _NotYet() if self._statistics is None else Normalisation(*self._statistics)

    @property
    def fill(self) -> tuple[float, ...]:
        """The colour of padding, which becomes 0 when normalised."""
        return (0.5,) * self.count if self._statistics is None else tuple(self._statistics[0])

    def scaled(self, image: Tensor) -> Tensor:
        """An image ``(C, H, W)`` of a source: uint8 as it is, other values of a file float32 in [0, 1].

        Raises:
            ConfigError: a range that is not known.
        """
        if self.channels is None or image.dtype == torch.uint8:
            return image
        if self._range is None:
            raise ConfigError(
                "value_range: is not known; a run estimates it from its training images, and elsewhere it is given: "
                "dataset.value_range=[0, 10000]"
            )
        low, high = (torch.tensor(values)[:, None, None] for values in self._range)
        return torch.nan_to_num(((image - low) / (high - low)).clamp(0, 1))

    def read(self, path: Any) -> Tensor:
        """A file as an image as of :meth:`scaled`."""
        return self.scaled(self.reading.image(path))

    def read_all(self, path: Path) -> Iterator[tuple[str, Tensor]]:
        """The images of a file, pages and slices one by one, with endings for their names."""
        pages = layout_of(path).pages
        if pages == 1:
            yield "", self.read(path)
            return
        for page in range(pages):
            yield f"_{page:04d}", self.scaled(self.reading.image(path, Part(page)))

    def picture(self, image: Tensor) -> Tensor:
        """An image ``(C, H, W)``, of a file or in [0, 1], as one to look at: float ``(3, H, W)`` in [0, 1]."""
        if self.channels is None:
            shown = image[:3] if len(image) >= 3 else image[:1].expand(3, -1, -1)
            return shown.float() / 255 if shown.dtype == torch.uint8 else shown
        chosen = list(self._shown or range(3)) if len(image) >= 3 else [0]
        values = image[chosen]
        if values.dtype == torch.uint8 and len(image) == 3:
            return values.float() / 255
        return torch.stack([_stretched(channel.float()) for channel in values]).expand(3, -1, -1)

    def remarks(self, *perturbations: nn.Module | None) -> list[str]:
        """What to say of views that change what only RGB has."""
        if self.count == 3 or not any(isinstance(p, Photometric) and p.changes_colours() for p in perturbations):
            return []
        return [
            f"dataset.channels: images of {self.count} channels; views change brightness, contrast and sharpness, and "
            "leave out saturation, hue and grayscale, which are of RGB"
        ]

    def settled(self, *subsets: Images) -> dict[str, Any]:
        """``value_range``, ``mean`` and ``std`` as far as they are to be estimated, from samples of the training sets.

        Raises:
            DataError: no image can be read, or some of 8 bits and some of more.
        """
        if self._statistics is not None and (self._range is not None or self.channels is None):
            return {}
        images = list(_images(subsets))
        if not images:
            raise DataError("dataset.channels: no training image can be read to estimate value_range, mean and std of")
        deep = [image.dtype != torch.uint8 for image in images]
        if any(deep) and not all(deep):
            raise DataError(
                f"dataset.channels: {sum(deep)} of {len(images)} training images have more than 8 bits, the others 8; "
                "store them alike"
            )
        values = np.concatenate([_some_pixels(image) for image in images], axis=1)
        kept = self._range or _percentiles(values) if deep[0] else ((0.0,) * self.count, (255.0,) * self.count)
        low, high = (np.array(ends)[:, None] for ends in kept)
        scaled = np.nan_to_num(((values - low) / (high - low)).clip(0, 1))
        found: dict[str, Any] = {"value_range": [[_rounded(v) for v in ends] for ends in kept]}
        if self._statistics is None:
            found["mean"] = [_rounded(v) for v in scaled.mean(1)]
            found["std"] = [_rounded(max(v, _SMALLEST)) for v in scaled.std(1)]
        return found


def scaled_entries(entries: Callable[..., Batch], images: ImageChannels, sample: Any, *further: Any) -> Batch:
    """What ``entries`` makes of a sample whose image is scaled."""
    return entries(sample._replace(image=images.scaled(sample.image)), *further)


class _NotYet(Normalisation):
    """Stands for a normalisation that is not estimated yet."""

    def __init__(self) -> None:
        pass

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        raise ConfigError(
            "mean, std: are not known; a run estimates them from its training images, and elsewhere they are given"
        )


def _range_of(value_range: Sequence[Values], count: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    ends = [(float(end),) * count if isinstance(end, int | float) else tuple(map(float, end)) for end in value_range]
    if len(ends) != 2 or any(len(end) != count for end in ends) or not all(a < b for a, b in zip(*ends, strict=True)):
        raise ConfigError(
            f"value_range: got {value_range!r}, expected [low, high], low < high, each one number or {count}, one for "
            "each channel"
        )
    return ends[0], ends[1]


def _images(subsets: Sequence[Images]) -> Iterator[Tensor]:
    """Images evenly spread over subsets; those that cannot be read are passed over."""
    for samples in subsets:
        for index in range(0, len(samples), -(-len(samples) * len(subsets) // _LOOKED_AT) or 1):
            try:
                yield samples[index].image
            except (DataError, MissingDataError):  # a run skips such a sample, or says so itself
                continue


def _some_pixels(image: Tensor) -> np.ndarray:
    pixels = image.flatten(1)
    return pixels[:, :: -(-pixels.shape[1] // _PIXELS)].numpy().astype(np.float64)


def _percentiles(values: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    finite = np.where(np.isfinite(values), values, np.nan)
    if bool(np.isnan(finite).all(1).any()):
        raise DataError("dataset.channels: a channel of the training images holds no finite value")
    low, high = np.nanpercentile(finite, [_OUTSIDE, 100 - _OUTSIDE], axis=1)
    return tuple(low.tolist()), tuple(np.where(high > low, high, low + 1).tolist())


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _stretched(channel: Tensor) -> Tensor:
    values = channel[channel.isfinite()]
    if not len(values):
        return torch.zeros_like(channel)
    low, high = np.percentile(values[:: -(-len(values) // _PIXELS)].numpy(), _STRETCH)
    return torch.nan_to_num((channel - low) / max(high - low, 1e-12)).clamp(0, 1)
