"""Images with keypoints, and embedded ones: the extremes of real handwritten digits."""

from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from residual_ssl.errors import ConfigError

_TRAIN = 1400  # of scikit-learn's 1,797 digits
_SIZE = 32
_INK = 0.5


class KeypointSample(NamedTuple):
    """One image of one object.

    Attributes:
        image: uint8 ``(3, H, W)``, RGB.
        points: float32 ``(L, 2)``, x and y in pixels from the upper left corner; None where they are not known.
        visible: bool ``(L,)``, which of them are known; None without points.
        sides: height and width of the object in pixels, float32 ``(2,)``; None without points.
        name: unique within the data set.
    """

    image: Tensor
    points: Tensor | None
    visible: Tensor | None
    sides: Tensor | None
    name: str


class DigitExtremes:
    """Handwritten digits on noisy ground, with the highest, the lowest, the leftmost and the rightmost of their ink.

    Where several pixels of the ink are extreme alike, the keypoint is their middle. Digits of the training sets never
    occur in the validation set.

    Args:
        labelled, unlabelled: numbers of images, together at most 1,400; at least 1 and 0.
        validation: number of images, 1 to 397.
        seed: of everything.

    Raises:
        ConfigError: numbers outside these ranges.
    """

    names = ("top", "bottom", "left", "right")

    def __init__(self, labelled: int = 20, unlabelled: int = 400, validation: int = 100, seed: int = 0) -> None:
        if labelled < 1 or unlabelled < 0 or labelled + unlabelled > _TRAIN:
            raise ConfigError(
                f"labelled, unlabelled: got {labelled} and {unlabelled}, expected at least 1 and 0, together at most "
                f"{_TRAIN}"
            )
        if not 1 <= validation <= 397:
            raise ConfigError(f"validation: got {validation}, expected 1 to 397")
        from sklearn.datasets import load_digits

        digits = load_digits().images / 16
        order = np.random.default_rng(seed).permutation(len(digits))

        def made(kind: str, first: int, count: int) -> list[KeypointSample]:
            return [_drawn(digits[order[i]], f"{kind}/{i:04d}", [seed, i]) for i in range(first, first + count)]

        self.labelled = made("labelled", 0, labelled)
        self.unlabelled = made("unlabelled", labelled, unlabelled)
        self.validation = made("validation", _TRAIN, validation)


def _drawn(digit: np.ndarray, name: str, seed: list[int]) -> KeypointSample:
    rng = np.random.default_rng(seed)
    side = int(rng.integers(18, 25))
    ink = np.asarray(Image.fromarray(digit.astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC))
    ink = np.clip(ink / ink.max(), 0, 1)
    top, left = rng.integers(0, _SIZE - side + 1, 2)
    canvas = rng.uniform(0.1, 0.4, 3) + rng.normal(0, 0.05, (_SIZE, _SIZE, 3))
    place = canvas[top : top + side, left : left + side]
    place += ink[..., None] * (rng.uniform(0.7, 1.0, 3) - place)
    rows, columns = np.nonzero(ink > _INK)
    extremes = [rows == rows.min(), rows == rows.max(), columns == columns.min(), columns == columns.max()]
    points = [[left + columns[at].mean() + 0.5, top + rows[at].mean() + 0.5] for at in extremes]
    sides = [np.ptp(rows) + 1, np.ptp(columns) + 1]
    pixels = torch.from_numpy((np.clip(canvas, 0, 1) * 255).round().astype(np.uint8)).permute(2, 0, 1).contiguous()
    return KeypointSample(
        pixels,
        torch.tensor(points, dtype=torch.float32),
        torch.ones(4, dtype=torch.bool),
        torch.tensor(sides, dtype=torch.float32),
        name,
    )
