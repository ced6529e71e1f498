"""Embedded data that needs no download: scikit-learn's scans of handwritten digits, one to an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch

from residual_ssl.data.classification.classified import ImageArrays
from residual_ssl.data.spec import OUTSIDE
from residual_ssl.data.splits.lists import few
from residual_ssl.errors import ConfigError

_TRAIN = 1400  # of 1,797


class HandwrittenDigits(ImageArrays):
    """1,797 scans of 8×8 pixels, grey as RGB, classes 0 … 9, as :class:`ClassifiedSamples`.

    Args:
        split: ``"train"``, 1,400 of them, or ``"validation"``, the other 397; the same for every seed of a run.
        classes: the digits that are classes, in the order of their ids; others are of none of the classes. None: all.

    Raises:
        ConfigError: another split; classes that are no digits.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998.

    Example:
        >>> digits = HandwrittenDigits("validation")
        >>> len(digits), digits[0].image.shape, digits[0].label
        (397, torch.Size([3, 8, 8]), 0)
    """

    def __init__(self, split: Literal["train", "validation"] = "train", classes: Sequence[str] | None = None) -> None:
        from sklearn.datasets import load_digits

        if split not in ("train", "validation"):
            raise ConfigError(f"split: got {split!r}, expected train or validation")
        names = list("0123456789") if classes is None else list(classes)
        unknown = [name for name in names if name not in list("0123456789")]
        if unknown:
            raise ConfigError(f"classes: got {few(unknown)}, expected digits, '0' to '9'")
        bunch: Any = load_digits()
        # The scans of one writer stand together in the file.
        order = torch.randperm(len(bunch.target), generator=torch.Generator().manual_seed(0))
        order = order[:_TRAIN] if split == "train" else order[_TRAIN:]
        grey = (torch.from_numpy(bunch.images)[order] * (255 / 16)).round().to(torch.uint8)
        ids = {digit: names.index(str(digit)) if str(digit) in names else OUTSIDE for digit in range(10)}
        labels = [ids[digit] for digit in bunch.target[order.numpy()].tolist()]
        super().__init__(grey.unsqueeze(1).repeat(1, 3, 1, 1), labels, split)
