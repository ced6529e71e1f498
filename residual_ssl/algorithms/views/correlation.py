"""Correlation maps: which points of a sample are alike, and labels that spread along them."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from residual_ssl.algorithms.views.contrast import at_grid
from residual_ssl.selection import Selection


class Correlated(nn.Module):
    """A network with a correlation map of its highest features, along which its logits are propagated.

    With features f of the points i of a grid, projected twice to K channels, ``C_ij = softmax_j(a(f_i)ᵀ b(f_j) / √K)``
    and the propagated logits are ``Σ_i x_i C_ij``.

    Args:
        network: an :class:`~residual_ssl.models.EncoderDecoder`.
        channels: C of its highest features.
        num_classes: K.
        hidden: channels of the layer that both projections share.

    ``forward(x)`` is that of the network; with ``correlated=True`` it gives logits ``(B, K, *S)``, propagated logits
    ``(B, K, *s)`` on the grid of the features, through which no gradient reaches the logits, and C, ``(B, N, N)``.

    Source: CorrMatch, arXiv 2306.04300, eq. 1 to 3; the projections of its released code.
    """

    def __init__(self, network: nn.Module, channels: int, num_classes: int, hidden: int = 256) -> None:
        super().__init__()
        self.network = network
        self.projection = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU())
        self.from_point = nn.Linear(hidden, num_classes)
        self.to_point = nn.Linear(hidden, num_classes)

    @property
    def encoder(self) -> nn.Module:
        """The network's pretrained part, for learning rates."""
        return self.network.encoder  # type: ignore[return-value]

    def forward(self, x: Tensor, *, correlated: bool = False) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        if not correlated:
            return self.network(x)  # type: ignore[no-any-return]
        features = self.network.encode(x)  # type: ignore[operator]
        logits = self.network.decode(features, tuple(x.shape[2:]))  # type: ignore[operator]
        grid = tuple(features[-1].shape[2:])
        points = features[-1].reshape(*features[-1].shape[:2], -1)
        shared = self.projection(points.transpose(1, 2))  # (B, N, hidden)
        one, other = self.from_point(shared), self.to_point(shared)
        correlation = (one @ other.transpose(1, 2) / math.sqrt(one.shape[2])).softmax(2)
        on_grid = at_grid(logits.detach(), grid)
        spread = on_grid.reshape(*on_grid.shape[:2], -1) @ correlation
        return logits, spread.reshape(on_grid.shape), correlation


def segments_of(correlation: Tensor, grid: tuple[int, ...], size: tuple[int, ...], count: int) -> Tensor:
    """Regions that are alike: bool ``(B, M, *size)``, of M ≤ ``count`` points drawn from the grid.

    A region holds what correlates with its point more than halfway between the least and the most that anything does.

    Args:
        correlation: C, ``(B, N, N)``.
        grid: ``*s``, of N points.
        size: ``*S``, to which maps are resampled (nearest).
        count: most regions of a sample.

    Source: CorrMatch, arXiv 2306.04300, eq. 8; bilinear there.
    """
    drawn = torch.randperm(correlation.shape[1], device=correlation.device)[:count]
    maps = correlation.detach()[:, drawn]
    low, high = maps.amin(2, keepdim=True), maps.amax(2, keepdim=True)
    alike = (maps - low) > 0.5 * (high - low)
    for dim, length in enumerate(size):
        places = torch.arange(length, device=maps.device) * grid[dim] // length
        if dim == 0:
            alike = alike.reshape(*alike.shape[:2], *grid)
        alike = alike.index_select(2 + dim, places)
    return alike


def grown(chosen: Selection, segments: Tensor, agreement: float, num_classes: int) -> Selection:
    """A selection that takes whole regions where nearly all of them is trusted, and of one class.

    A region is accepted where more than the share ``agreement`` of its valid points is trusted, and more than that
    share of these is of one class, which all its points then get, in full. Of regions that overlap the later counts.

    Args:
        chosen: of points ``(B, *S)``.
        segments: bool ``(B, M, *S)``.
        agreement: in [0, 1].
        num_classes: K.

    Source: CorrMatch, arXiv 2306.04300, §3.3 and released code.
    """
    inside = segments.flatten(2) & chosen.valid.flatten(1).unsqueeze(1)  # (B, M, N)
    sure = (inside & chosen.trusted.flatten(1).unsqueeze(1)).float()
    classes = F.one_hot(chosen.label.flatten(1), num_classes).float()  # (B, N, K)
    most, winner = (sure @ classes).max(2)  # (B, M)
    total = sure.sum(2)
    accepted = (total > 0) & (total >= agreement * inside.sum(2)) & (most > agreement * total)
    taken = inside & accepted.unsqueeze(2)
    order = torch.arange(1, taken.shape[1] + 1, device=taken.device).view(1, -1, 1)
    last = (taken * order).amax(1)  # (B, N), 0 for none
    label = winner.gather(1, (last - 1).clamp(min=0))
    where = (last > 0).view(chosen.label.shape)
    full = chosen.with_labels(label.view(chosen.label.shape), where)
    return replace(full, confidence=chosen.confidence, residual=chosen.residual)
