"""Embedded pairs that need no download: a scene of digits seen twice, between which digits come and go."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from residual_ssl.data import DatasetSpec, Sample
from residual_ssl.errors import ConfigError
from residual_ssl.tasks.segmentation.digit_scenes import draw_digits, handwritten, noisy, textured_ground
from residual_ssl.tasks.segmentation.glyphs import Glyphs

CHANGE_SPEC = DatasetSpec(classes=("unchanged", "changed"), palette=((0, 0, 0), (230, 25, 75)))

_SUBSETS = ("labelled", "unlabelled", "validation")
_LIGHT = (0.75, 1.25)


class DigitChanges:
    """Pairs of scenes as a :class:`~residual_ssl.data.SegmentationSource`: what stays, and digits that come or go.

    Both images of a pair show one ground with one to three digits. One or two further digits are in either of them
    alone; where they are is changed. The second image is under another light, a gain of each channel in [0.75, 1.25],
    and both have a noise of their own: no change of these is one of the scene.

    Args:
        labelled, unlabelled, validation: numbers of pairs; at least 1, 0 and 1.
        size: height and width in pixels, ≥ 32.
        seed: of everything. Digits of the training pairs never occur in validation pairs.

    Raises:
        ConfigError: numbers outside these ranges.

    Example:
        >>> pairs = DigitChanges(labelled=1, unlabelled=0, validation=1)
        >>> pairs.labelled[0].image.shape, pairs.labelled[0].mask.unique()
        (torch.Size([6, 64, 64]), tensor([0, 1]))
    """

    def __init__(
        self, labelled: int = 32, unlabelled: int = 400, validation: int = 100, size: int = 64, seed: int = 0
    ) -> None:
        given = {"labelled": labelled, "unlabelled": unlabelled, "validation": validation, "size": size, "seed": seed}
        least = {"labelled": 1, "unlabelled": 0, "validation": 1, "size": 32, "seed": 0}
        faults = [f"{name}: got {given[name]!r}, expected an integer ≥ {low}" for name, low in least.items()
                  if not isinstance(given[name], int) or given[name] < low]  # fmt: skip
        if faults:
            raise ConfigError("\n".join(faults))
        train, held_out = handwritten(seed)
        self.spec = CHANGE_SPEC

        def pairs(subset: str, count: int, digits: Glyphs) -> Sequence[Sample]:
            drawn = (np.random.default_rng([seed, _SUBSETS.index(subset), i]) for i in range(count))
            return tuple(_pair(digits, size, rng, f"{subset}/{i:04d}") for i, rng in enumerate(drawn))

        self.labelled = pairs("labelled", labelled, train)
        self.unlabelled = pairs("unlabelled", unlabelled, train)
        self.validation = pairs("validation", validation, held_out)


def _pair(digits: Glyphs, size: int, rng: np.random.Generator, name: str) -> Sample:
    canvas = textured_ground(size, rng)
    taken = np.zeros((size, size), dtype=np.int64)
    draw_digits(canvas, taken, digits, int(rng.integers(1, 4)), rng)
    stays = taken != 0
    both = [canvas.copy(), canvas.copy()]
    for _ in range(rng.integers(1, 3)):
        draw_digits(both[rng.integers(2)], taken, digits, 1, rng)
    both[1] *= rng.uniform(*_LIGHT, size=3).astype(np.float32)
    image = torch.cat([_pixels(noisy(one, rng)) for one in both])
    return Sample(image, torch.from_numpy(((taken != 0) & ~stays).astype(np.int64)), name)


def _pixels(image: NDArray[np.float32]) -> Tensor:
    return rearrange(torch.from_numpy(np.rint(image * 255).astype(np.uint8)), "h w c -> c h w").contiguous()
