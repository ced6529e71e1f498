"""How images become predictions: whole or by sliding windows, as they are or averaged over scales and flips."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from residual_ssl.errors import InvalidInputError

Network = Callable[[Tensor], Tensor]


class Inference:
    """The choices of inference: windows, scales, flips; and which part of an image evaluation counts.

    Args:
        window: side, or (height, width), of windows that slide over the image; None predicts whole images.
        stride: distance between windows, 1 … window; None for two thirds of the window, rounded down.
        window_batch: windows in one pass of the network, over all images of a batch; bounds the memory.
        scales: factors by which images are resized before prediction, one or more.
        flip: average with the prediction of the mirrored image.
        center_crop: side, or (height, width), of the centre that alone counts in evaluation, or None for all of the
            image. The validation set then *consists* of these crops, images and targets: the network sees nothing else
            of an image. Where an image is smaller, all of that side counts. Prediction of one's own files covers all
            of them.

    ``__call__(network, images)`` maps images ``(B, 3, H, W)`` to logits ``(B, K, H, W)``. With windows, or with more
    than one scale or flip, these are the logarithms of averaged probabilities: softmax gives the averages back, and
    argmax their largest. Windows are of the same size at every scale.

    Raises:
        InvalidInputError: a choice outside its range; a stride without a window.

    Source: the evaluation of Cityscapes in UniMatch (arXiv 2208.09910) and CSL (arXiv 2509.16704), windows of 801 with
    stride 534, and UniMatch's ``center_crop`` of earlier epochs.

    Example:
        >>> inference = Inference(window=801, scales=[1.0, 1.5], flip=True)
        >>> inference.window, inference.stride
        ((801, 801), (534, 534))
        >>> Inference()(lambda x: x[:, :2], torch.zeros(1, 3, 4, 6)).shape
        torch.Size([1, 2, 4, 6])
    """

    def __init__(
        self,
        window: int | Sequence[int] | None = None,
        stride: int | Sequence[int] | None = None,
        *,
        window_batch: int = 4,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        center_crop: int | Sequence[int] | None = None,
    ) -> None:
        self.window = None if window is None else _sides("window", window)
        self.stride = None if self.window is None else _stride(self.window, stride)
        self.window_batch = window_batch
        self.scales = tuple(float(scale) for scale in scales)
        self.flip = flip
        self.center_crop = None if center_crop is None else _sides("center_crop", center_crop)
        if self.window is None and stride is not None:
            raise InvalidInputError(f"stride: got {stride} without a window; give window, or leave out stride")
        if window_batch < 1:
            raise InvalidInputError(f"window_batch: got {window_batch}, expected a number of windows ≥ 1")
        if not self.scales or not all(0 < scale < float("inf") for scale in self.scales):
            raise InvalidInputError(f"scales: got {list(scales)}, expected one or more factors > 0, [1.0] for none")

    def __call__(self, network: Network, images: Tensor) -> Tensor:
        predict: Network = partial(whole, network)
        if self.window is not None:
            predict = partial(
                sliding_window, network, window=self.window, stride=self.stride, window_batch=self.window_batch
            )
        return augmented(predict, images, self.scales, flip=self.flip)

    def __repr__(self) -> str:
        choices = ("window", "stride", "window_batch", "scales", "flip", "center_crop")
        return f"Inference({', '.join(f'{name}={getattr(self, name)!r}' for name in choices)})"


def whole(network: Network, images: Tensor) -> Tensor:
    """Logits ``(B, K, H, W)`` of images ``(B, 3, H, W)`` in one pass; resized where the network gives another size."""
    logits = network(images)
    return _resized(logits, (images.shape[2], images.shape[3]))


def sliding_window(
    network: Network,
    images: Tensor,
    window: tuple[int, ...],
    stride: tuple[int, ...] | None = None,
    *,
    window_batch: int = 4,
) -> Tensor:
    """Log-probabilities of images, or volumes, by windows: each point has the mean probabilities of those that see it.

    Windows start at multiples of the stride; the last of a row or column is moved inwards to end with the image, so
    that all have the same size. A side of the image that is smaller than the window's is taken whole.

    Args:
        network: maps images to logits ``(N, K, *s)``, with items independent of each other.
        images: ``(B, C, *S)``.
        window, stride: a side for each dimension of S; strides are at most the window's, None for two thirds of them.
        window_batch: windows in one pass of the network, over all images.

    Returns:
        ``(B, K, *S)`` of the logits' dtype, at least float32; probabilities of 0 give the logarithm of the smallest
        normal number.

    Source: UniMatch (arXiv 2208.09910), whose code of version 1 cuts the last windows off at the border, and of
    version 2 (arXiv 2410.10777) moves them inwards.

    Example:
        >>> steps = sliding_window(lambda x: x[:, :2], torch.zeros(1, 3, 5, 7), (4, 4)).exp()
        >>> steps.shape, steps.unique()
        (torch.Size([1, 2, 5, 7]), tensor([0.5000]))
    """
    count, _, *sides = images.shape
    spans = [
        [slice(start, start + min(side, most)) for start in window_starts(side, most, step)]
        for side, most, step in zip(sides, window, _stride(window, stride), strict=True)
    ]
    places = list(itertools.product(range(count), itertools.product(*spans)))
    total, seen = images.new_zeros(0), images.new_zeros(sides)
    for place in itertools.product(*spans):
        seen[place] += 1
    for first in range(0, len(places), window_batch):
        chosen = places[first : first + window_batch]
        views = torch.stack([images[(i, slice(None), *place)] for i, place in chosen])
        probabilities = _probabilities(whole(network, views) if images.dim() == 4 else network(views))
        if not first:  # only now are K and the dtype known
            total = probabilities.new_zeros(count, probabilities.shape[1], *sides)
        for (i, place), found in zip(chosen, probabilities, strict=True):
            total[(i, slice(None), *place)] += found
    return _logarithm(total / seen)


def augmented(predict: Network, images: Tensor, scales: Sequence[float] = (1.0,), *, flip: bool = False) -> Tensor:
    """Predictions for resized and mirrored images, brought back to the image's own pixels and averaged.

    Args:
        predict: maps images to logits of their size, as :func:`whole` and :func:`sliding_window` do.
        images: ``(B, 3, H, W)``.
        scales: factors for both sides; images are resized bilinearly and antialiased, logits bilinearly.
        flip: with the image mirrored from left to right, at each scale.

    Returns:
        ``(B, K, H, W)``: the logits themselves for a single scale without flip, else the logarithm of the mean of the
        probabilities.
    """
    size = (images.shape[2], images.shape[3])

    def view(scale: float, mirrored: bool) -> Tensor:
        inputs = images.flip(-1) if mirrored else images
        scaled = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
        if scaled != size:
            inputs = F.interpolate(inputs, scaled, mode="bilinear", align_corners=False, antialias=True)
        logits = _resized(predict(inputs), size)
        return logits.flip(-1) if mirrored else logits

    views = list(itertools.product(scales, (False, True) if flip else (False,)))
    if len(views) == 1:
        return view(*views[0])
    total = _probabilities(view(*views[0]))
    for choice in views[1:]:
        total += _probabilities(view(*choice))
    return _logarithm(total / len(views))


def window_starts(side: int, window: int, stride: int) -> list[int]:
    """Where the windows along one side begin; the last one ends with it.

    Example:
        >>> window_starts(1024, 801, 534), window_starts(2048, 801, 534), window_starts(500, 801, 534)
        ([0, 223], [0, 534, 1068, 1247], [0])
    """
    return [*range(0, side - window, stride), max(0, side - window)]


def centered(pixels: Tensor, crop: tuple[int, int]) -> Tensor:
    """The centre of ``(…, H, W)``, a view whose sides are at most the crop; what is left of an odd rest lies after it.

    Example:
        >>> centered(torch.arange(5)[None], (1, 2))
        tensor([[1, 2]])
    """
    height, width = (min(side, most) for side, most in zip(pixels.shape[-2:], crop, strict=True))
    top, left = (pixels.shape[-2] - height) // 2, (pixels.shape[-1] - width) // 2
    return pixels[..., top : top + height, left : left + width]


def _resized(logits: Tensor, size: tuple[int, int]) -> Tensor:
    if (logits.shape[2], logits.shape[3]) == size:
        return logits
    return F.interpolate(_precise(logits), size, mode="bilinear", align_corners=False)


def _probabilities(logits: Tensor) -> Tensor:
    return _precise(logits).softmax(dim=1)


def _precise(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _logarithm(probabilities: Tensor) -> Tensor:
    # An infinite logit would count as broken with every selector, and become NaN when resized.
    return probabilities.clamp_(min=torch.finfo(probabilities.dtype).tiny).log_()


def _sides(name: str, value: int | Sequence[int]) -> tuple[int, int]:
    sides = (value, value) if isinstance(value, int) else tuple(value)
    if len(sides) != 2 or not all(isinstance(side, int) and side >= 1 for side in sides):
        raise InvalidInputError(f"{name}: got {value}, expected a side ≥ 1 in pixels, or (height, width)")
    return sides[0], sides[1]


def _stride(window: tuple[int, ...], stride: int | Sequence[int] | None) -> tuple[int, ...]:
    if stride is None:
        return tuple(max(1, side * 2 // 3) for side in window)
    found = (stride,) * len(window) if isinstance(stride, int) else tuple(stride)
    if len(found) != len(window) or not all(isinstance(step, int) and step >= 1 for step in found):
        raise InvalidInputError(f"stride: got {stride}, expected a distance ≥ 1, or one for each side of {window}")
    if any(step > side for step, side in zip(found, window, strict=True)):
        raise InvalidInputError(f"stride: got {stride}, expected at most the window {window}: others leave gaps")
    return found
