"""Views of recordings: a shift in time, and time that runs unevenly."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from residual_ssl.errors import DataError, InvalidInputError
from residual_ssl.runtime.global_batch import uniform


class Shift:
    """The weak view: each channel standardised, shifted in time by up to ``most`` steps, which go round.

    Args:
        channels, length: C and T of every recording.
        most: longest shift, ≥ 0.
    """

    def __init__(self, channels: int, length: int, most: int = 0) -> None:
        if min(channels, length) < 1 or most < 0:
            raise InvalidInputError(
                f"channels, length, shift: got {channels}, {length} and {most}, expected numbers ≥ 1, 1 and 0"
            )
        self.channels, self.length, self.most = channels, length, most

    def __call__(self, recording: Tensor, generator: torch.Generator | None = None) -> Tensor:
        steps = int(torch.randint(-self.most, self.most + 1, (), generator=generator))
        return self.plain(recording).roll(steps, 1)

    def plain(self, recording: Tensor) -> Tensor:
        if tuple(recording.shape) != (self.channels, self.length) or not recording.isfinite().all():
            raise DataError(
                f"recording: got shape {tuple(recording.shape)}, expected finite numbers of shape ({self.channels}, "
                f"{self.length}); set dataset.channels and dataset.length"
            )
        deviation, mean = torch.std_mean(recording.double(), 1, correction=0, keepdim=True)
        return ((recording - mean) / deviation.clamp(min=1e-8)).float()


class TimeWarp(nn.Module):
    """Let time run unevenly: its speed changes smoothly by up to a share, and ends where it ended.

    Args:
        strength: largest change of the speed, in [0, 1).
        knots: places at which it changes, ≥ 2.
        then: a perturbation to apply afterwards, as ``residual_ssl.perturbations.Intensity``; None for none.

    Call: floating ``(B, C, T)``, to the same shape.

    Source: T. Um et al., arXiv 1706.00527.
    """

    def __init__(self, strength: float = 0.2, knots: int = 4, then: nn.Module | None = None) -> None:
        super().__init__()
        if not 0 <= strength < 1 or knots < 2:
            raise InvalidInputError(f"strength, knots: got {strength} and {knots}, expected [0, 1) and ≥ 2")
        self.strength, self.knots, self.then = strength, knots, then

    def forward(self, x: Tensor) -> Tensor:
        draws = uniform(len(x), 1, self.knots, device=x.device)
        speed = 1 + self.strength * (2 * F.interpolate(draws, x.shape[2], mode="linear", align_corners=True) - 1)
        time = speed.cumsum(2)
        place = (time - time[..., :1]) / (time[..., -1:] - time[..., :1]).clamp(min=1e-8) * (x.shape[2] - 1)
        before = place.floor().long().clamp(max=max(x.shape[2] - 2, 0)).expand_as(x)
        after = (before + 1).clamp(max=x.shape[2] - 1)
        warped: Tensor = torch.lerp(x.gather(2, before), x.gather(2, after), (place - before).to(x.dtype))
        return warped if self.then is None else self.then(warped)
