"""Embedded data that needs no download: scenes of real handwritten digits with their boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from residual_ssl.data import BoxSample
from residual_ssl.errors import ConfigError
from residual_ssl.tasks.segmentation.digit_scenes import DIGIT_SPEC, handwritten, scene

_SUBSETS = ("labelled", "unlabelled", "validation")


class DigitBoxes:
    """The scenes of :class:`~residual_ssl.tasks.segmentation.DigitScenes` with a box around each digit.

    A box is the extent of what the digit's class covers there. A :class:`~residual_ssl.data.DetectionSource`; the
    boxes of unlabelled scenes are filled, for diagnostics alone.

    Args:
        labelled, unlabelled, validation: numbers of scenes; at least 1, 0 and 1.
        size: height and width of a scene in pixels, ≥ 32.
        seed: of everything; a scene depends on the seed, its subset and its index alone.

    Raises:
        ConfigError: numbers outside these ranges.

    Example:
        >>> scenes = DigitBoxes(labelled=2, unlabelled=1, validation=1)
        >>> scenes.labelled[0].boxes.shape[1], scenes.classes[:2], scenes.most
        (4, ('zero', 'one'), 5)
    """

    most = 5

    def __init__(
        self, labelled: int = 48, unlabelled: int = 800, validation: int = 200, size: int = 64, seed: int = 0
    ) -> None:
        given = (("labelled", labelled, 1), ("unlabelled", unlabelled, 0), ("validation", validation, 1))
        for name, value, least in (*given, ("size", size, 32), ("seed", seed, 0)):
            if not isinstance(value, int) or value < least:
                raise ConfigError(f"{name}: got {value!r}, expected an integer ≥ {least}")
        self.classes: Sequence[str] = DIGIT_SPEC.classes[1:]
        train, held_out = handwritten(seed)

        def render(subset: str, index: int) -> BoxSample:
            rng = np.random.default_rng([seed, _SUBSETS.index(subset), index])
            image, _, objects = scene(held_out if subset == "validation" else train, size, rng)
            pixels = torch.from_numpy(np.rint(image * 255).astype(np.uint8)).permute(2, 0, 1).contiguous()
            boxes = torch.from_numpy(objects)
            crowd = torch.zeros(len(boxes), dtype=torch.bool)
            return BoxSample(pixels, boxes[:, :4].float(), boxes[:, 4] - 1, crowd, f"{subset}/{index:04d}")

        self.labelled = tuple(render("labelled", i) for i in range(labelled))
        self.unlabelled = tuple(render("unlabelled", i) for i in range(unlabelled))
        self.validation = tuple(render("validation", i) for i in range(validation))
