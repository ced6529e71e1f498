"""A Gaussian mixture with labels: known classes have their labelled points, new ones are split off and merged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Clusters of so few points are no classes, and are not split into such.
_FEW = 5
_STEPS, _ROUNDS = 10, 30


@dataclass(frozen=True)
class NormalInverseWishart:
    """Prior of a cluster's mean and covariance, in D dimensions.

    Attributes:
        mean: of the means, ``(D,)``.
        scale: Ψ, ``(D, D)``; with ν = D + 2 it is the expected covariance.
        strength: κ, points that the mean is worth.
        freedom: ν > D - 1.
    """

    mean: Tensor
    scale: Tensor
    strength: float
    freedom: float

    def after(self, points: Tensor) -> NormalInverseWishart:
        """The posterior after points ``(N, D)``."""
        count = len(points)
        if not count:
            return self
        strength = self.strength + count
        centre = points.mean(0)
        apart = points - centre
        shift = centre - self.mean
        scale = self.scale + apart.T @ apart + self.strength * count / strength * torch.outer(shift, shift)
        mean = (self.strength * self.mean + count * centre) / strength
        return NormalInverseWishart(mean, scale, strength, self.freedom + count)

    @property
    def covariance(self) -> Tensor:
        """Expected covariance, ``(D, D)``."""
        expected: Tensor = self.scale / (self.freedom - len(self.mean) - 1)
        return expected

    def log_evidence(self, points: Tensor) -> float:
        """Logarithm of the marginal likelihood of points ``(N, D)`` in one cluster."""
        count, width = points.shape
        after = self.after(points)

        def half(prior: NormalInverseWishart) -> Tensor:
            nu = torch.as_tensor(prior.freedom / 2, dtype=points.dtype)
            log_gamma = torch.special.multigammaln(nu, width)
            found: Tensor = log_gamma - nu * torch.logdet(prior.scale) - width / 2 * math.log(prior.strength)
            return found

        return float(half(after) - half(self) - count * width / 2 * math.log(math.pi))


def log_split_ratio(first: Tensor, second: Tensor, prior: NormalInverseWishart) -> float:
    """Log Hastings ratio of two clusters against one: positive where two explain the points better.

    ``log (Γ(N_1) p(X_1) Γ(N_2) p(X_2)) - log (Γ(N) p(X))``, of a Dirichlet process of concentration 1.

    Source: GPC, arXiv 2305.06144, eq. 5 and 6; Chang and Fisher, NeurIPS 2013.
    """
    both = torch.cat([first, second])
    sign = ((first, 1), (second, 1), (both, -1))
    return sum(s * (math.lgamma(len(points)) + prior.log_evidence(points)) for points, s in sign)


def discovered(
    known: Sequence[Tensor], pool: Tensor, prior: NormalInverseWishart, start: int
) -> list[tuple[float, NormalInverseWishart]]:
    """Share and posterior of each cluster: the K known classes first, then the new ones that were found.

    Hard expectation–maximisation between splits and merges of the new clusters, until none is made.

    Args:
        known: labelled points of each class, ``(N_k, D)``.
        pool: unlabelled points ``(M, D)``.
        prior: of each cluster.
        start: new clusters to begin with.
    """
    label = torch.zeros(len(pool), dtype=torch.int64)
    clusters = [(1.0, prior.after(points)) for points in known]
    for _ in range(start):
        # The point that the clusters so far explain worst begins the next.
        worst = log_joint(pool, clusters).amax(1).argmin()
        clusters.append((1.0, prior.after(pool[worst : worst + 1])))
    for _ in range(_ROUNDS):
        for _ in range(_STEPS):
            before, label = label, log_joint(pool, clusters).argmax(1)
            clusters, label = _estimated(known, pool, label, prior, len(clusters))
            if torch.equal(before, label):
                break
        changed = _merged(_split(label, pool, len(known), prior), known, pool, prior)
        if torch.equal(changed, label):
            break
        clusters, label = _estimated(known, pool, changed, prior, int(changed.max()) + 1)
    return clusters


def log_joint(x: Tensor, clusters: Sequence[tuple[float, NormalInverseWishart]]) -> Tensor:
    """Logarithm of share times density of each cluster at points ``(N, D)``: ``(N, C)``."""
    columns = []
    for share, cluster in clusters:
        factor = torch.linalg.cholesky(cluster.covariance)
        white = torch.linalg.solve_triangular(factor, (x - cluster.mean).T, upper=False)
        spread = factor.diagonal().log().sum()
        columns.append(math.log(share) - spread - (white.square().sum(0) + x.shape[1] * math.log(2 * math.pi)) / 2)
    return torch.stack(columns, dim=1)


def _estimated(
    known: Sequence[Tensor], pool: Tensor, label: Tensor, prior: NormalInverseWishart, count: int
) -> tuple[list[tuple[float, NormalInverseWishart]], Tensor]:
    """Clusters of labelled and assigned points, without new ones of few points; and the labels without these."""
    sizes = torch.bincount(label, minlength=count).tolist()
    kept = [k for k in range(count) if k < len(known) or sizes[k] > _FEW]
    total = len(pool) + sum(len(points) for points in known)
    clusters = []
    for k in kept:
        points = pool[label == k]
        points = torch.cat([known[k], points]) if k < len(known) else points
        clusters.append((max(len(points), 1) / total, prior.after(points)))
    place = {old: new for new, old in enumerate(kept)}
    if len(kept) < count:
        label = log_joint(pool, clusters).argmax(1)
    else:
        label = torch.tensor([place[k] for k in label.tolist()], dtype=torch.int64)
    return clusters, label


def _split(label: Tensor, pool: Tensor, classes: int, prior: NormalInverseWishart) -> Tensor:
    label, following = label.clone(), int(label.max()) + 1
    for k in range(classes, following):
        places = (label == k).nonzero().flatten()
        if len(places) <= 2 * _FEW:
            continue
        second = _halved(pool[places])
        if min(int(second.sum()), int((~second).sum())) <= _FEW:
            continue
        if log_split_ratio(pool[places[~second]], pool[places[second]], prior) > 0:
            label[places[second]] = int(label.max()) + 1
    return label


def _halved(points: Tensor) -> Tensor:
    """Two means, begun on both sides of the main axis: bool ``(N,)``."""
    centred = points - points.mean(0)
    _, _, axes = torch.linalg.svd(centred, full_matrices=False)
    second: Tensor = centred @ axes[0] > 0
    for _ in range(_STEPS):
        if second.all() or not second.any():
            break
        means = torch.stack([points[~second].mean(0), points[second].mean(0)])
        second = torch.cdist(points, means).argmin(1).bool()
    return second


def _merged(label: Tensor, known: Sequence[Tensor], pool: Tensor, prior: NormalInverseWishart) -> Tensor:
    """New clusters merged into the nearest one, of a known class or new, where one explains both better."""
    label = label.clone()
    points = {k: torch.cat([known[k], pool[label == k]]) for k in range(len(known))}
    points |= {k: pool[label == k] for k in sorted(set(label.tolist())) if k >= len(known)}
    for k in [k for k in points if k >= len(known)]:
        others = [other for other in points if other != k and len(points[other])]
        centres = torch.stack([points[other].mean(0) for other in others])
        nearest = others[int((centres - points[k].mean(0)).square().sum(1).argmin())]
        if log_split_ratio(points[k], points[nearest], prior) < 0:
            label[label == k] = nearest
            points[nearest] = torch.cat([points[nearest], points.pop(k)])
    kept = sorted({*range(len(known)), *label.tolist()})
    place = {old: new for new, old in enumerate(kept)}
    return torch.tensor([place[k] for k in label.tolist()], dtype=torch.int64)
