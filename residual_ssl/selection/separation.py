"""Separation of reliable points from the rest: partition, moments of the reliable side, weights. Pure tensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from residual_ssl.selection.partition import solve_partition

_VARIANCE_EPSILON = 1e-8


@dataclass(frozen=True)
class ConvexPartition:
    """The two-way partition of groups of points and the moments of its reliable side.

    Attributes:
        program: ``P`` of the convex program, ``(G, d, d)``.
        gram: Gram matrix of the valid points, ``(G, d, d)``.
        reliable: membership of each point in the reliable cluster, in [0, 1] (0 or 1 at temperature 0), ``(G, N)``.
        mean: weighted mean of each feature over the reliable cluster, ``(G, d)``.
        variance: unbiased weighted variance of each feature over the reliable cluster, ``(G, d)``.
    """

    program: Tensor
    gram: Tensor
    reliable: Tensor
    mean: Tensor
    variance: Tensor


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
        features: d tensors ``(G, N)``: N points in each of G groups; confidence first, dispersion second.
        valid: bool ``(G, N)``.
        dispersion_penalty: λ ≥ 0.
        gamma: weight of the quadratic term of the program.
        temperature: 0 assigns by the sign of the affinity; τ > 0 softly, by ``σ(a/τ)``, with gradients.
        solver: as in :func:`solve_partition`.

    Returns:
        A partition. Where a cluster is empty the other one is the reliable one; where a group has no valid point,
        membership, mean and variance are 0.

    Source: CSL, arXiv 2509.16704, §3.3.
    """
    count = valid.sum(-1).clamp(min=1)
    masked = [torch.where(valid, f, torch.zeros_like(f)) for f in features]
    gram = _gram(masked) / count[:, None, None]
    program = solve_partition(gram, gamma=gamma, solver=solver)
    affinity = _affinity(masked, gram, program)
    first = (affinity > 0).to(affinity.dtype) if temperature == 0 else torch.sigmoid(affinity / temperature)
    first = torch.where(valid, first, torch.zeros_like(first))
    second = torch.where(valid, 1 - first, torch.zeros_like(first))

    means = [torch.stack([_weighted_mean(f, side) for f in masked], -1) for side in (first, second)]
    scores = [
        torch.where(_total(side) > 0, mean[:, 0] - dispersion_penalty * mean[:, 1], -torch.inf)
        for side, mean in zip((first, second), means, strict=True)
    ]
    first_wins = (scores[0] >= scores[1])[:, None]
    reliable = torch.where(first_wins, first, second)
    mean = torch.where(first_wins, means[0], means[1])
    variance = torch.stack([_weighted_variance(f, reliable, mean[:, i]) for i, f in enumerate(masked)], -1)
    return ConvexPartition(program, gram, reliable, mean, variance)


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
    trusted = (z_confidence > 0) | (z_dispersion > 0)
    weight = torch.exp(-(z_confidence.square() + z_dispersion.square()) / alpha)
    if temperature == 0:
        return torch.where(trusted, torch.ones_like(weight), weight), trusted
    accepted = 1 - torch.sigmoid(-z_confidence / temperature) * torch.sigmoid(-z_dispersion / temperature)
    return accepted + (1 - accepted) * weight, trusted


def _total(values: Tensor) -> Tensor:
    """Sum over the points in float64 (float32 where the device has none), whatever the dtype of the points.

    The second eigenvalue of G is some 1e-5 of the first, beyond what float32 sums over an image resolve.
    """
    return values.sum(-1, dtype=torch.float32 if values.device.type == "mps" else torch.float64)


def _gram(features: list[Tensor]) -> Tensor:
    size = len(features)
    upper = {(i, j): _total(features[i] * features[j]) for i in range(size) for j in range(i, size)}
    return torch.stack([torch.stack([upper[min(i, j), max(i, j)] for j in range(size)], -1) for i in range(size)], -2)


def _affinity(features: list[Tensor], gram: Tensor, program: Tensor) -> Tensor:
    complement = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device) - program
    inside = (gram * program).sum((-1, -2))
    outside = (gram * complement).sum((-1, -2))
    # Where every point lies on one line, both sides of the second ratio vanish; rounding must not decide it.
    tolerance = 100 * torch.finfo(gram.dtype).eps
    inside = inside.clamp(min=torch.finfo(gram.dtype).tiny)
    outside = torch.maximum(outside, tolerance * inside)
    form = program / inside[:, None, None] - complement / outside[:, None, None]
    form = form.to(features[0].dtype)
    affinity = torch.zeros_like(features[0])
    for i, f in enumerate(features):
        for j in range(i, len(features)):
            coefficient = form[:, i, j] if i == j else 2 * form[:, i, j]
            affinity = affinity + coefficient[:, None] * (f * features[j])
    return affinity


def _weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    total = _total(weight)
    return _total(weight * values) / torch.where(total > 0, total, torch.ones_like(total))


def _weighted_variance(values: Tensor, weight: Tensor, mean: Tensor) -> Tensor:
    """Unbiased variance under reliability weights: the divisor ``Σw - Σw²/Σw`` is n - 1 for weights 0 and 1."""
    total = _total(weight)
    freedom = total - _total(weight.square()) / torch.where(total > 0, total, torch.ones_like(total))
    squares = _total(weight * (values - mean.to(values.dtype)[:, None]).square())
    return squares / torch.where(freedom > 0, freedom, torch.ones_like(freedom))
