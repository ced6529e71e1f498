"""Embedded data that needs no download: scenes of real handwritten digits, or printed ones, on textured ground."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from residual_ssl.data import OUTSIDE, DatasetSpec, Sample
from residual_ssl.errors import ConfigError
from residual_ssl.tasks.segmentation import corruption
from residual_ssl.tasks.segmentation.glyphs import DIGITS, LETTERS, Glyphs, printed_glyphs

DIGIT_SPEC = DatasetSpec(
    classes=("background", "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    palette=(
        *((0, 0, 0), (230, 25, 75), (60, 180, 75), (255, 225, 25), (0, 130, 200), (245, 130, 48)),
        *((145, 30, 180), (70, 240, 240), (240, 50, 230), (210, 245, 60), (250, 190, 212)),
    ),
)

_TRAIN_DIGITS = 1400  # of 1,797
_SUBSETS = ("labelled", "unlabelled", "validation")
_LETTERS_MADE = 1600
_PRINTED_MADE = 1797
_GROUND = (0.05, 0.45)
_CONTRAST = (0.30, 0.38)  # of a digit over the brightest ground below it
_STROKE_CONTRAST = (0.10, 0.22)
_TINT = 0.25
_NOISE = 0.05
_MASK_LEVEL = 0.35

Array = NDArray[np.float32]


def digit_spec() -> DatasetSpec:
    """The classes of :class:`DigitScenes`, without rendering any scene."""
    return DIGIT_SPEC


class DigitScenes:
    """Small RGB scenes with three to five handwritten digits each, as a :class:`~residual_ssl.data.SegmentationSource`.

    The digits are scikit-learn's bundled 8×8 scans, enlarged 2.6 to 3.2 times, of random tint and always brighter than
    the ground below them by 0.3 of the full range (mean of the channels, before the noise of standard deviation 0.05).
    The ground is a smooth coloured texture with up to two bright strokes that are background. A class covers the pixels
    next to ink as well: the enlarged digit's 3×3 maximum above 0.35. Digits of the training scenes (1,400) never occur
    in validation scenes (the other 397).

    Args:
        labelled, unlabelled, validation: numbers of scenes; at least 1, 0 and 1.
        size: height and width of a scene in pixels, ≥ 32; digits grow with it.
        letters: share of the unlabelled scenes that hold printed letters instead of digits, in [0, 1]: a contaminated
            pool. Their mask says :data:`OUTSIDE` where a letter is, which no pseudo-label can match.
        digits: ``"handwritten"``, or ``"printed"``: from the fonts that come with matplotlib, on the same ground in the
            same colours, the source of an adaptation to the former. 1,797 are printed, and divided as above.
        corrupted: share of the unlabelled scenes that are hard to see, in [0, 1]; see
            :func:`~residual_ssl.tasks.segmentation.corruption.corrupted`. Their masks are those of the clear scenes.
        imbalance: how much more often the most frequent digit is drawn than the rarest, ≥ 1, in labelled and unlabelled
            scenes: frequencies fall geometrically from digit to digit, in an order that the seed decides. Validation
            scenes stay balanced.
        seed: of everything. A scene depends on the seed, its subset and its index alone: changing the number of one
            subset's scenes changes no other scene.

    Attributes ``labelled``, ``unlabelled`` and ``validation`` are tuples of :class:`~residual_ssl.data.Sample`,
    rendered at construction; ``spec`` has 11 classes, ``background`` (0) and digit + 1. The masks of unlabelled scenes
    are filled, as they are known: they serve diagnostics only, no algorithm may learn from them.

    Raises:
        ConfigError: numbers outside these ranges.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998.

    Example:
        >>> scenes = DigitScenes(labelled=2, unlabelled=1, validation=1)
        >>> scenes.labelled[0].image.shape, scenes.labelled[0].image.dtype, scenes.spec.num_classes
        (torch.Size([3, 64, 64]), torch.uint8, 11)
    """

    def __init__(
        self,
        labelled: int = 48,
        unlabelled: int = 800,
        validation: int = 200,
        size: int = 64,
        seed: int = 0,
        letters: float = 0.0,
        digits: Literal["handwritten", "printed"] = "handwritten",
        corrupted: float = 0.0,
        imbalance: float = 1.0,
    ) -> None:
        faults = [
            f"{name}: got {value!r}, expected an integer ≥ {least}"
            for name, value, least in (
                ("labelled", labelled, 1),
                ("unlabelled", unlabelled, 0),
                ("validation", validation, 1),
                ("size", size, 32),
                ("seed", seed, 0),
            )
            if not isinstance(value, int) or value < least
        ]
        faults += [
            f"{name}: got {value!r}, expected a share in [0, 1]"
            for name, value in (("letters", letters), ("corrupted", corrupted))
            if not 0 <= value <= 1
        ]
        if digits not in _DIGITS:
            faults.append(f"digits: got {digits!r}, expected one of {', '.join(_DIGITS)}")
        if not 1 <= imbalance < np.inf:
            faults.append(f"imbalance: got {imbalance!r}, expected a finite ratio of frequencies ≥ 1")
        if faults:
            raise ConfigError("\n".join(faults))

        def render(subset: str, glyphs: Glyphs, index: int, corrupt: bool = False) -> Sample:
            rng = np.random.default_rng([seed, _SUBSETS.index(subset), index])
            image, mask, _ = scene(glyphs, size, rng)
            return _sample(f"{subset}/{index:04d}", corruption.corrupted(image, rng) if corrupt else image, mask)

        train, held_out = _DIGITS[digits](seed)
        train = _long_tailed(train, imbalance, seed)
        strangers = _letters(seed) if letters else train
        self.spec = DIGIT_SPEC
        self.labelled = tuple(render("labelled", train, i) for i in range(labelled))
        self.unlabelled = tuple(
            render("unlabelled", strangers if _chosen(i, letters) else train, i, corrupt=_chosen(i, corrupted))
            for i in range(unlabelled)
        )
        self.validation = tuple(render("validation", held_out, i) for i in range(validation))


def _chosen(index: int, share: float) -> bool:
    """Whether a scene is one of a share; they are spread evenly, so that a shorter pool has the same share of them."""
    return int((index + 1) * share) > int(index * share)


def handwritten(seed: int) -> tuple[Glyphs, Glyphs]:
    """Intensities ``(N, 8, 8)`` in [0, 1] and class ids ``(N,)`` for training and for validation scenes."""
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    order = np.random.default_rng([seed, len(_SUBSETS)]).permutation(len(bunch.target))
    images, labels = (bunch.images / 16).astype(np.float32)[order], bunch.target.astype(np.int64)[order] + 1
    return (images[:_TRAIN_DIGITS], labels[:_TRAIN_DIGITS]), (images[_TRAIN_DIGITS:], labels[_TRAIN_DIGITS:])


def _printed_digits(seed: int) -> tuple[Glyphs, Glyphs]:
    """As :func:`handwritten`, printed."""
    images, labels = printed_glyphs(DIGITS, _PRINTED_MADE, np.random.default_rng([seed, len(_SUBSETS) + 2]))
    labels = labels + 1
    return (images[:_TRAIN_DIGITS], labels[:_TRAIN_DIGITS]), (images[_TRAIN_DIGITS:], labels[_TRAIN_DIGITS:])


_DIGITS = {"handwritten": handwritten, "printed": _printed_digits}


def _long_tailed(digits: Glyphs, imbalance: float, seed: int) -> Glyphs:
    """As many digits of each class as its frequency allows; those that are left are drawn alike. 1 leaves all."""
    if imbalance == 1:
        return digits
    images, labels = digits
    ids, counts = np.unique(labels, return_counts=True)
    rank = np.random.default_rng([seed, len(_SUBSETS) + 2]).permutation(len(ids))
    kept = np.maximum(1, np.rint(counts.min() * imbalance ** (-rank / (len(ids) - 1)))).astype(int)
    places = np.concatenate([np.flatnonzero(labels == i)[:n] for i, n in zip(ids, kept, strict=True)])
    return images[places], labels[places]


def _letters(seed: int) -> Glyphs:
    images, _ = printed_glyphs(LETTERS, _LETTERS_MADE, np.random.default_rng([seed, len(_SUBSETS) + 1]))
    return images, np.full(_LETTERS_MADE, OUTSIDE)


def scene(digits: Glyphs, size: int, rng: np.random.Generator) -> tuple[Array, NDArray[np.int64], NDArray[np.int64]]:
    """One scene: image ``(size, size, 3)`` in [0, 1], class ids ``(size, size)``, objects as :func:`draw_digits`."""
    canvas = textured_ground(size, rng)
    mask = np.zeros((size, size), dtype=np.int64)
    objects = draw_digits(canvas, mask, digits, int(rng.integers(3, 6)), rng)
    return noisy(canvas, rng), mask, objects


def draw_digits(
    canvas: Array, mask: NDArray[np.int64], digits: Glyphs, count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw digits on a canvas ``(H, W, 3)`` in [0, 1] and their ids into its mask ``(H, W)``, where that is 0.

    Returns:
        The digits ``(n, 5)``: left, top, right and bottom of what the class of each covers, in pixels, and its id.
    """
    brightness, size = canvas.mean(axis=2), len(canvas)
    objects = []
    for _ in range(count):
        choice = rng.integers(len(digits[1]))
        ink = _enlarged(digits[0][choice], round(8 * rng.uniform(2.6, 3.2) * size / 64))
        shape = _dilated(ink) > _MASK_LEVEL
        corner = _free_place(mask != 0, shape, rng)
        canvas[corner] += ink[..., None] * (_colour(brightness[corner][shape], rng) - canvas[corner])
        mask[corner][shape] = digits[1][choice]
        rows, columns = (np.flatnonzero(shape.any(axis)) for axis in (1, 0))
        top, left = corner[0].start, corner[1].start
        extent = [left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1]
        objects.append([*extent, digits[1][choice]])
    return np.array(objects, dtype=np.int64).reshape(-1, 5)


def noisy(canvas: Array, rng: np.random.Generator) -> Array:
    """A canvas under the noise of a camera, in [0, 1]."""
    image: Array = np.clip(canvas + rng.normal(0, _NOISE, canvas.shape).astype(np.float32), 0, 1)
    return image


def _colour(ground: Array, rng: np.random.Generator) -> Array:
    """One colour for a whole digit, in the mean of its channels brighter than all ground below it."""
    level = ground.max() + rng.uniform(*_CONTRAST)
    tint = rng.uniform(-1, 1, size=3)
    tint -= tint.mean()
    colour: Array = level + tint * (min(_TINT, level, 1 - level) / np.abs(tint).max())
    return colour.astype(np.float32)


def textured_ground(size: int, rng: np.random.Generator) -> Array:
    """Texture with up to two strokes, ``(size, size, 3)`` in [0, 0.62]: room for a brighter digit everywhere."""
    coarse = rng.uniform(*_GROUND, size=(3, *rng.integers(3, 7, size=2))).astype(np.float32)
    smooth = [np.asarray(Image.fromarray(c).resize((size, size), Image.Resampling.BICUBIC)) for c in coarse]
    ground: Array = np.clip(np.stack(smooth, axis=-1), *_GROUND)
    for _ in range(rng.integers(0, 3)):
        ground += _stroke(size, rng)[..., None] * rng.uniform(*_STROKE_CONTRAST)
    return np.minimum(ground, 1 - _CONTRAST[1])


def _stroke(size: int, rng: np.random.Generator) -> Array:
    """Coverage ``(size, size)`` in [0, 1] of a straight stroke."""
    start, angle = rng.uniform(0, size, size=2), rng.uniform(0, 2 * np.pi)
    along = np.array([np.sin(angle), np.cos(angle)])
    offset = np.indices((size, size)).transpose(1, 2, 0) - start
    position = np.clip(offset @ along, 0, rng.uniform(0.3, 0.8) * size)
    distance = np.linalg.norm(offset - position[..., None] * along, axis=-1)
    coverage: Array = np.clip(rng.uniform(0.8, 1.6) * size / 64 + 0.5 - distance, 0, 1).astype(np.float32)
    return coverage


def _enlarged(digit: Array, side: int) -> Array:
    """The digit at ``side`` pixels, stretched to reach 1."""
    large = np.asarray(Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC))
    ink: Array = np.clip(large / large.max(), 0, 1)
    return ink


def _dilated(ink: Array) -> Array:
    """Maximum over each 3×3 neighbourhood."""
    largest: Array = np.lib.stride_tricks.sliding_window_view(np.pad(ink, 1), (3, 3)).max(axis=(2, 3))
    return largest


def _free_place(taken: NDArray[np.bool_], shape: NDArray[np.bool_], rng: np.random.Generator) -> tuple[slice, slice]:
    """Where, of up to 60 random places, the shape covers least of what is taken."""
    best, least = (slice(0), slice(0)), shape.size + 1
    for top, left in rng.integers(0, np.subtract(taken.shape, shape.shape) + 1, size=(60, 2)):
        corner = (slice(top, top + shape.shape[0]), slice(left, left + shape.shape[1]))
        covered = int(np.count_nonzero(taken[corner] & shape))
        if covered < least:
            best, least = corner, covered
        if least == 0:
            break
    return best


def _sample(name: str, image: Array, mask: NDArray[np.int64]) -> Sample:
    pixels: Tensor = torch.from_numpy(np.rint(image * 255).astype(np.uint8))
    return Sample(rearrange(pixels, "h w c -> c h w").contiguous(), torch.from_numpy(mask), name)
