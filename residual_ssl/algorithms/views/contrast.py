"""Contrast with a memory: unreliable points are negatives of the classes that they surely are not."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from residual_ssl.runtime.arguments import Count, Positive, Share, checked
from residual_ssl.selection.points.memory import Memory
from residual_ssl.selection.points.past_points import gathered


class LabelledPoints(NamedTuple):
    """What is known of N points; labels are true ones or pseudo-labels.

    Attributes:
        label: int64 ``(N,)``, class ids; any where neither known nor reliable.
        known: bool ``(N,)``, with a true label.
        reliable: bool ``(N,)``, with a pseudo-label that is trusted.
        unreliable: bool ``(N,)``, without one that is.
    """

    label: Tensor
    known: Tensor
    reliable: Tensor
    unreliable: Tensor


class ContrastiveMemory(Memory):
    """Contrast of the points of a class with their centre and with negatives out of a memory of that class.

    Anchors of a class are the points with its label or trusted pseudo-label of which the teacher gives the class more
    than δ. Their positive is the mean of their features in the teacher. Its negatives, which a memory keeps, are the
    teacher's features of unlabelled points that are unreliable and whose rank of the class lies in [r₀, r₁), and of
    labelled points of other classes that rank it among the first r₀::

        L = -1/C Σ_c 1/M Σ_i log e^{cos(z_i, z_c)/τ} / (e^{cos(z_i, z_c)/τ} + Σ_j e^{cos(z_i, z_ij)/τ})

    over the C classes that have anchors and negatives; the largest probability has rank 0.

    Args:
        num_classes: K.
        dim: length of the features.
        anchors: M at most, drawn for each class.
        negatives: drawn for each anchor.
        size: features that are kept of each class; a step adds at most ``anchors`` of each process.
        ranks: (r₀, r₁).
        temperature: τ > 0.
        certain: δ.

    Call: ``(z (N, D), teacher's z (N, D), teacher's probabilities (N, K), LabelledPoints) -> scalar``. Negatives of the
    step are remembered first. All processes hold one memory.

    Source: U2PL, arXiv 2203.03884, eq. 5 to 12; δ, M, negatives and τ of its released code.
    """

    features: Tensor
    filled: Tensor
    following: Tensor

    @checked
    def __init__(
        self,
        num_classes: int,
        dim: int,
        anchors: Count = 256,
        negatives: Count = 50,
        size: Count = 2048,
        ranks: tuple[int, int] = (3, 20),
        temperature: Positive = 0.5,
        certain: Share = 0.3,
    ) -> None:
        super().__init__()
        self.anchors = anchors
        self.negatives = negatives
        self.size = size
        self.ranks = (ranks[0], ranks[1])
        self.temperature = temperature
        self.certain = certain
        self.register_buffer("features", torch.zeros(num_classes, size, dim))
        self.register_buffer("filled", torch.zeros(num_classes, dtype=torch.int64))
        self.register_buffer("following", torch.zeros(num_classes, dtype=torch.int64))

    def forward(self, z: Tensor, teachers: Tensor, probability: Tensor, points: LabelledPoints) -> Tensor:
        negative = self.negatives_of(probability, points)
        of_class = F.one_hot(points.label, len(self.filled)).bool()
        is_anchor = of_class & (points.known | points.reliable).unsqueeze(1) & (probability > self.certain)
        losses, counts = [], []
        for k in range(len(self.filled)):
            self._remember(k, teachers, negative[:, k])
            losses.append(self._of_class(k, z, teachers, is_anchor[:, k]))
            counts.append(is_anchor[:, k].any() & (self.filled[k] > 0))
        present = torch.stack(counts).to(z.dtype)
        total: Tensor = (torch.stack(losses) * present).sum() / present.sum().clamp(min=1)
        return total

    def negatives_of(self, probability: Tensor, points: LabelledPoints) -> Tensor:
        """bool ``(N, K)``: the classes that each point is a negative of."""
        rank = probability.argsort(dim=1, descending=True, stable=True).argsort(1)
        first, end = self.ranks
        unlabelled = points.unreliable.unsqueeze(1) & (rank >= first) & (rank < end)
        other = ~F.one_hot(points.label, probability.shape[1]).bool()
        return unlabelled | points.known.unsqueeze(1) & other & (rank < first)

    def _of_class(self, k: int, z: Tensor, teachers: Tensor, is_anchor: Tensor) -> Tensor:
        drawn, real = _drawn(is_anchor, self.anchors)
        centre = (teachers * is_anchor.unsqueeze(1)).sum(0) / is_anchor.sum().clamp(min=1)
        place = torch.rand(len(drawn), self.negatives, device=z.device) * self.filled[k]
        others = self.features[k][place.long().clamp(max=self.size - 1)]  # (M, negatives, D)
        compared = torch.cat([centre.expand(len(drawn), 1, -1), others.to(z.dtype)], 1)
        near = F.cosine_similarity(z[drawn].unsqueeze(1), compared, dim=2) / self.temperature
        loss = near.logsumexp(1) - near[:, 0]
        return (loss * real).sum() / real.sum().clamp(min=1)

    @torch.no_grad()
    def _remember(self, k: int, teachers: Tensor, negative: Tensor) -> None:
        drawn, real = _drawn(negative, min(self.anchors, self.size))
        new = gathered(teachers[drawn].float().flatten()).view(-1, teachers.shape[1])
        real = gathered(real)
        position = (self.following[k] + real.long().cumsum(0) - 1) % self.size
        # What is not real is written to a place beyond the memory, which is cut off.
        position = torch.where(real, position, self.size)
        longer = torch.cat([self.features[k], self.features[k][:1]])
        self.features[k] = longer.index_copy(0, position, new.to(longer.dtype))[:-1]
        self.following[k] = (self.following[k] + real.sum()) % self.size
        self.filled[k] = (self.filled[k] + real.sum()).clamp(max=self.size)


def _drawn(chosen: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Places of at most ``most`` of the chosen points ``(N,)``, at random, and which of the places are real."""
    scores = torch.rand(len(chosen), device=chosen.device).masked_fill(~chosen, -1.0)
    best = scores.topk(min(most, len(chosen)))
    return best.indices, best.values >= 0


class Projected(nn.Module):
    """A network with a projection of its highest features, for contrast.

    Args:
        network: an :class:`~residual_ssl.models.EncoderDecoder`.
        channels: C of its highest features.
        dim: D of the projection, two linear maps at each point.

    ``forward(x, …)`` is that of the network; with ``projected=True`` it gives logits and the projection
    ``(B, D, *s)``, on the grid of these features.
    """

    def __init__(self, network: nn.Module, channels: int, dim: int) -> None:
        super().__init__()
        self.network = network
        self.projection = nn.Sequential(nn.Linear(channels, dim), nn.ReLU(), nn.Linear(dim, dim))

    @property
    def encoder(self) -> nn.Module:
        """The network's pretrained part, for learning rates."""
        return self.network.encoder  # type: ignore[return-value]

    def forward(self, x: Tensor, *, projected: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        if not projected:
            return self.network(x)  # type: ignore[no-any-return]
        features = self.network.encode(x)  # type: ignore[operator]
        logits = self.network.decode(features, tuple(x.shape[2:]))  # type: ignore[operator]
        return logits, self.projection(features[-1].movedim(1, -1)).movedim(-1, 1)


def at_grid(points: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Points ``(…, *S)`` at the centres of a coarser grid ``*s`` of as many dimensions, ``(…, *s)``."""
    start = points.dim() - len(grid)
    for dim, length in enumerate(grid, start):
        places = (2 * torch.arange(length, device=points.device) + 1) * points.shape[dim] // (2 * length)
        points = points.index_select(dim, places)
    return points
