"""Time series as a task: recordings of C channels and T steps, one class or several labels each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from residual_ssl.errors import DataError
from residual_ssl.tasks.classification import MultiLabel
from residual_ssl.tasks.classification.classified import ClassifiedTask
from residual_ssl.tasks.views import Views
from residual_ssl_series.views import Shift


class SeriesTask(ClassifiedTask):
    """Classification of recordings, float32 ``(C, T)``, each channel standardised.

    Args:
        classes: names of the K classes.
        channels, length: C and T; given and not found in the data, so that a trained model predicts without them.
        source: ``source()`` gives recordings and classes.
        model: ``model(num_classes=K, in_channels=C)`` gives a new model.
        shift: longest shift in time of the weak view, in steps; it goes round.
        strong, light, labelled: perturbations of the views of those names, of ``(B, C, T)``; None leaves it plain.
        choose_by: metric that chooses the best checkpoint.
    """

    input_suffixes = (".npy",)

    def __init__(
        self,
        classes: Sequence[str],
        channels: int,
        length: int,
        source: Callable[..., Any],
        model: Callable[..., nn.Module],
        shift: int = 0,
        strong: nn.Module | None = None,
        light: nn.Module | None = None,
        labelled: nn.Module | None = None,
        choose_by: str | None = None,
    ) -> None:
        views = Views(strong=strong, light=light, labelled=labelled)
        weak = Shift(channels, length, shift)
        sized = partial(model, in_channels=channels)
        super().__init__(classes, source, sized, weak, views, choose_by=choose_by)
        self.weak = weak

    def read(self, path: Path) -> Tensor:
        try:
            values = np.load(path, allow_pickle=False)
            return self.weak.plain(torch.from_numpy(np.asarray(values, dtype=np.float32)))
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{path}: the recording cannot be read, {error}; expected .npy of shape (C, T)") from error

    def example(self) -> Tensor:
        return torch.zeros(self.weak.channels, self.weak.length)


class SeriesLabelsTask(MultiLabel, SeriesTask):
    """:class:`SeriesTask` of recordings that have any number of labels; ``classes`` are their names."""
