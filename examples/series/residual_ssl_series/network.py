"""A small residual network for time series."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from residual_ssl.errors import InvalidInputError
from residual_ssl.models import ClassificationModel


class SeriesResNet(ClassificationModel):
    """Residual blocks of 1-D convolutions of width 7, each at half the length of the one before, averaged over time.

    Args:
        num_classes: K ≥ 2; 1 for the output of a sigmoid.
        in_channels: C of the recordings.
        widths: channels of each block, at least one.
    """

    def __init__(self, num_classes: int, in_channels: int = 1, widths: Sequence[int] = (32, 64, 64)) -> None:
        if not widths or min(widths) < 1:
            raise InvalidInputError(f"widths: got {tuple(widths)}, expected one or more numbers of channels ≥ 1")
        blocks = [_Block(narrow, wide) for narrow, wide in zip([in_channels, *widths], widths, strict=False)]
        super().__init__(nn.Sequential(*blocks), widths[-1], num_classes)

    def encode(self, x: Tensor) -> list[Tensor]:
        return [self.encoder(x).mean(2)]


class _Block(nn.Module):
    def __init__(self, narrow: int, wide: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv1d(narrow, wide, 7, stride=2, padding=3, bias=False), nn.BatchNorm1d(wide))
        self.second = nn.Sequential(nn.Conv1d(wide, wide, 7, padding=3, bias=False), nn.BatchNorm1d(wide))
        self.beside = nn.Conv1d(narrow, wide, 1, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.second(torch.relu(self.first(x))) + self.beside(x))
