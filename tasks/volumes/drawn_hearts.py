"""Embedded volumes that need no download: hearts, drawn as ellipsoids under noise and uneven light."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from residual_ssl.data import DatasetSpec, Sample
from residual_ssl.errors import ConfigError

HEART_SPEC = DatasetSpec(
    classes=("background", "right ventricle", "myocardium", "left ventricle"),
    palette=((0, 0, 0), (0, 130, 200), (60, 180, 75), (230, 25, 75)),
)

_SUBSETS = ("labelled", "unlabelled", "validation")
# Mean intensities: blood is bright in both ventricles, and so are some bodies of the background.
_MEANS = (0.25, 0.75, 0.4, 0.75)
_NOISE = 0.12


class DrawnHearts:
    """Volumes with the classes of ACDC as a :class:`~residual_ssl.data.SegmentationSource`: made, not measured.

    The left ventricle is an ellipsoid, the myocardium a shell around it, the right ventricle a crescent at its side.
    The background holds one to three bodies as bright as blood; the light is uneven, and noise of deviation 0.12 lies
    over all. What tells the classes apart is where they lie to each other more than how bright they are.

    Args:
        labelled, unlabelled, validation: numbers of volumes; at least 1, 0 and 1.
        size: (depth, height, width), each ≥ 8.
        seed: of everything. A volume depends on the seed, its subset and its index alone.

    Raises:
        ConfigError: numbers outside these ranges.

    Example:
        >>> hearts = DrawnHearts(labelled=1, unlabelled=0, validation=1)
        >>> hearts.labelled[0].image.shape, hearts.labelled[0].mask.unique()
        (torch.Size([1, 12, 40, 40]), tensor([0, 1, 2, 3]))
    """

    def __init__(
        self,
        labelled: int = 4,
        unlabelled: int = 60,
        validation: int = 20,
        size: Sequence[int] = (12, 40, 40),
        seed: int = 0,
    ) -> None:
        counts = {"labelled": labelled, "unlabelled": unlabelled, "validation": validation}
        faults = [f"{name}: got {count!r}, expected an integer ≥ {int(name != 'unlabelled')}"
                  for name, count in counts.items()
                  if not isinstance(count, int) or count < (name != "unlabelled")]  # fmt: skip
        if len(size) != 3 or min(size) < 8:
            faults.append(f"size: got {size}, expected (depth, height, width), each ≥ 8")
        if faults:
            raise ConfigError("\n".join(faults))
        self.spec = HEART_SPEC
        self.labelled, self.unlabelled, self.validation = (
            tuple(_heart(size, np.random.default_rng([seed, number, i]), f"{name}/{i:04d}") for i in range(count))
            for number, (name, count) in enumerate(counts.items())
        )


def _heart(size: Sequence[int], rng: np.random.Generator, name: str) -> Sample:
    # Places in [-1, 1] along each side, of a heart that is turned within its slices.
    axes = np.meshgrid(*(np.linspace(-1, 1, side) for side in size), indexing="ij")
    angle, centre = rng.uniform(0, 2 * np.pi), rng.uniform(-0.15, 0.15, 3)
    z, y, x = (axis - offset for axis, offset in zip(axes, centre, strict=True))
    y, x = np.cos(angle) * y - np.sin(angle) * x, np.sin(angle) * y + np.cos(angle) * x
    radius, wall, length = rng.uniform(0.2, 0.32), rng.uniform(0.1, 0.16), rng.uniform(0.7, 0.95)
    mask = np.zeros(tuple(size), dtype=np.int64)
    mask[_inside((z, y, x - radius - wall), (length, radius * 1.3, radius + 0.12))] = 1
    mask[_inside((z, y, x), (length + wall / 2, radius + wall, radius + wall))] = 2
    mask[_inside((z, y, x), (length, radius, radius))] = 3
    image = np.choose(mask, _MEANS).astype(np.float64)
    for _ in range(rng.integers(1, 4)):  # vessels and fat
        place = [axis - offset for axis, offset in zip(axes, rng.uniform(-0.9, 0.9, 3), strict=True)]
        image[_inside(place, rng.uniform(0.12, 0.3, 3)) & (mask == 0)] = _MEANS[1]
    slope = sum(rng.uniform(-0.2, 0.2) * axis for axis in axes)
    image = image * (1 + slope) + rng.normal(0, _NOISE, size)
    return Sample(torch.from_numpy(image.astype(np.float32)).unsqueeze(0), torch.from_numpy(mask), name)


def _inside(place: Sequence[Any], radii: Any) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = sum((p / r) ** 2 for p, r in zip(place, radii, strict=True)) < 1
    return found
