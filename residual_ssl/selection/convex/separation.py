"""Separation of reliable points from the rest: partition, moments of the reliable side, weights. Pure tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from residual_ssl.selection.convex.partition import solve_partition_counted

_VARIANCE_EPSILON = 1e-8
_BLOCK = 256
_POINTS_TOGETHER = 2**19
_PER_GROUP = ("program", "gram", "reliable", "mean", "variance")


@dataclass(frozen=True)
class ConvexPartition:
    """The two-way partition of groups of points and the moments of its reliable side.

    Attributes:
        program: ``P`` of the convex program, ``(G, d, d)``.
        gram: Gram matrix of the valid points, ``(G, d, d)``.
        reliable: membership of each point in the reliable cluster, in [0, 1] (0 or 1 at temperature 0), ``(G, N)``.
        mean: weighted mean of each feature over the reliable cluster, ``(G, d)``.
        variance: unbiased weighted variance of each feature over the reliable cluster, ``(G, d)``.
        fallbacks: number of groups whose program the solver left to the closed form; None for a solver that cannot
            fail.
    """

    program: Tensor
    gram: Tensor
    reliable: Tensor
    mean: Tensor
    variance: Tensor
    fallbacks: Tensor | None = None


def convex_partition(
    features: tuple[Tensor, ...],
    valid: Tensor,
    *,
    dispersion_penalty: float = 0.0,
    gamma: float = 0.0,
    temperature: float = 0.0,
    solver: str = "closed_form",
) -> ConvexPartition:
    """Partition groups of points in two and find the reliable side.

    With ``P`` the optimum of :func:`solve_partition` for the Gram matrix ``G`` of a group, the affinity of point
    ``i`` is ``a_i = f_iᵀP f_i/<G,P> - f_iᵀ(I-P)f_i/<G,I-P>``; its sign assigns the point. The reliable cluster is the
    one with the larger ``mean(f_0) - λ·mean(f_1)``.

    Args:
        features: d finite tensors ``(G, N)``: N points in each of G groups; confidence first, dispersion second.
        valid: bool ``(G, N)``.
        dispersion_penalty: λ ≥ 0.
        gamma: weight of the quadratic term of the program.
        temperature: 0 assigns by the sign of the affinity; τ > 0 softly, by ``σ(a/τ)``, with gradients.
        solver: as in :func:`solve_partition`.

    Returns:
        A partition. Where a cluster is empty the other one is the reliable one; where a group
        has no valid point, membership, mean and variance are 0.

    Source: CSL, arXiv 2509.16704, §3.3.
    """
    options: dict[str, Any] = {"dispersion_penalty": dispersion_penalty, "gamma": gamma, "temperature": temperature}
    together = _groups_together(valid)
    if together >= len(valid):
        return _partition(features, valid, solver=solver, **options)
    groups = zip(*(torch.split(x, together) for x in (valid, *features)), strict=True)
    parts = [_partition(tuple(part), keep, solver=solver, **options) for keep, *part in groups]
    joined = {name: torch.cat([getattr(part, name) for part in parts]) for name in _PER_GROUP}
    counts = [part.fallbacks for part in parts if part.fallbacks is not None]
    return ConvexPartition(**joined, fallbacks=torch.stack(counts).sum() if counts else None)


def _groups_together(valid: Tensor) -> int:
    """How many groups to work on at once.

    The work is passes over the points. On a CPU their intermediate results cost more than the arithmetic once they are
    too large to be reused: each is then new memory from the system.
    """
    groups, points = valid.shape
    if valid.device.type != "cpu" or torch.compiler.is_compiling():
        return groups
    return max(_POINTS_TOGETHER // max(points, 1), 1)


def _partition(
    features: tuple[Tensor, ...],
    valid: Tensor,
    *,
    dispersion_penalty: float,
    gamma: float,
    temperature: float,
    solver: str,
) -> ConvexPartition:
    # 0 and 1 as numbers: multiplying by them is many times faster on a CPU than choosing by a bool.
    judged = _as_numbers(valid, features[0].dtype)
    masked = [f * judged for f in features]
    products = _products(masked)
    gram = _gram(products, len(masked)) / _total(judged).clamp(min=1)[:, None, None]
    program, fallbacks = solve_partition_counted(gram, gamma=gamma, solver=solver)
    affinity = _affinity(products, gram, program)
    hard = temperature == 0
    first = affinity.sign().clamp_(min=0) if hard else judged * torch.sigmoid(affinity / temperature)
    second = judged - first

    sizes = [_total(side) for side in (first, second)]
    means = [_weighted_means(masked, side, size) for side, size in zip((first, second), sizes, strict=True)]
    scores = [
        torch.where(size > 0, mean[:, 0] - dispersion_penalty * mean[:, 1], -torch.inf)
        for size, mean in zip(sizes, means, strict=True)
    ]
    first_wins = scores[0] >= scores[1]
    reliable = torch.lerp(second, first, first_wins[:, None].to(first.dtype))
    mean = torch.where(first_wins[:, None], means[0], means[1])
    size = torch.where(first_wins, sizes[0], sizes[1])
    variance = _weighted_variances(masked, reliable, mean, size, size if hard else _total(reliable.square()))
    return ConvexPartition(program, gram, reliable, mean, variance, fallbacks)


def reliability_weight(
    confidence: Tensor,
    dispersion: Tensor,
    partition: ConvexPartition,
    *,
    alpha: float,
    temperature: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Weight of each point by its distance from the reliable cluster, and which points are trusted.

    With ``z_c = (c - μ_c)/√(σ_c²+ε)`` and ``z_r = (μ_r - r)/√(σ_r²+ε)``, both larger for better points: a point is
    trusted, with weight 1, where ``z_c > 0`` or ``z_r > 0``; elsewhere it weighs ``exp(-(z_c² + z_r²)/α)``.

    Args:
        confidence, dispersion: ``(G, N)``.
        partition: moments of the reliable cluster, confidence first.
        alpha: width α > 0.
        temperature: τ > 0 replaces the step by ``s = 1 - (1-σ(z_c/τ))(1-σ(z_r/τ))``, ``w = s + (1-s)·exp(…)``.

    Returns:
        weight in [0, 1] and trusted (bool), both ``(G, N)``.

    Source: CSL, arXiv 2509.16704, §3.3; the constants are those of the released code.
    """
    mean = partition.mean.to(confidence.dtype)
    scale = (partition.variance + _VARIANCE_EPSILON).rsqrt().to(confidence.dtype)
    z_confidence = (confidence - mean[:, :1]) * scale[:, :1]
    z_dispersion = (mean[:, 1:2] - dispersion) * scale[:, 1:2]
    trusted = torch.maximum(z_confidence, z_dispersion) > 0
    weight = (z_confidence.square() + z_dispersion.square()).mul_(-1 / alpha).exp_()
    if temperature == 0:
        return torch.maximum(weight, _as_numbers(trusted, weight.dtype)), trusted
    accepted = 1 - torch.sigmoid(-z_confidence / temperature) * torch.sigmoid(-z_dispersion / temperature)
    return accepted + (1 - accepted) * weight, trusted


def _as_numbers(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A bool tensor as 0 and 1; from bytes, which a CPU converts several times faster than bools."""
    return mask.view(torch.uint8).to(dtype)


def _total(values: Tensor) -> Tensor:
    """Sum over the points in float64 (float32 where the device has none), whatever the dtype of the points.

    The second eigenvalue of G is some 1e-5 of the first, beyond what float32 sums over an image resolve. Sums over
    short blocks do resolve it, and spare a CPU the copy in float64.
    """
    wide = torch.float32 if values.device.type == "mps" else torch.float64
    blocks = values.shape[-1] // _BLOCK  # no divmod, which torch.compile cannot trace for sizes that change
    head, tail = torch.split_with_sizes(values, [blocks * _BLOCK, values.shape[-1] - blocks * _BLOCK], -1)
    sums = head.reshape(*head.shape[:-1], blocks, _BLOCK).sum(-1)
    return sums.sum(-1, dtype=wide) + tail.sum(-1, dtype=wide)


def _products(features: list[Tensor]) -> dict[tuple[int, int], Tensor]:
    """``f_i·f_j`` for i ≤ j: what the Gram matrix sums and the affinity combines."""
    size = len(features)
    return {(i, j): features[i] * features[j] for i in range(size) for j in range(i, size)}


def _gram(products: dict[tuple[int, int], Tensor], size: int) -> Tensor:
    upper = {pair: _total(product) for pair, product in products.items()}
    return torch.stack([torch.stack([upper[min(i, j), max(i, j)] for j in range(size)], -1) for i in range(size)], -2)


def affinity_form(gram: Tensor, program: Tensor) -> Tensor:
    """The matrices ``A = P/<G,P> - (I-P)/<G,I-P>``, ``(*, d, d)``: ``fᵀAf`` is the affinity of a point."""
    complement = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device) - program
    inside = (gram * program).sum((-1, -2))[..., None, None].clamp(min=torch.finfo(gram.dtype).tiny)
    outside = (gram * complement).sum((-1, -2))[..., None, None]
    # Where every point lies on one line, both sides of the second ratio vanish; rounding must not decide it.
    outside = torch.maximum(outside, 100 * torch.finfo(gram.dtype).eps * inside)
    return program / inside - complement / outside


def _affinity(products: dict[tuple[int, int], Tensor], gram: Tensor, program: Tensor) -> Tensor:
    form = affinity_form(gram, program).to(products[0, 0].dtype)
    affinity = products[0, 0] * form[:, 0, 0, None]
    for (i, j), product in products.items():
        if j > 0:
            affinity.addcmul_(product, form[:, i, j, None], value=1 if i == j else 2)
    return affinity


def _weighted_means(features: list[Tensor], weight: Tensor, size: Tensor) -> Tensor:
    return torch.stack([_total(weight * f) for f in features], -1) / torch.where(size > 0, size, 1.0)[:, None]


def _weighted_variances(features: list[Tensor], weight: Tensor, mean: Tensor, size: Tensor, squared: Tensor) -> Tensor:
    """Unbiased variance under reliability weights: the divisor ``Σw - Σw²/Σw`` is n - 1 for weights 0 and 1."""
    freedom = size - squared / torch.where(size > 0, size, 1.0)
    center = mean.to(features[0].dtype)
    squares = [_total((f - center[:, i, None]).square_().mul_(weight)) for i, f in enumerate(features)]
    return torch.stack(squares, -1) / torch.where(freedom > 0, freedom, 1.0)[:, None]
