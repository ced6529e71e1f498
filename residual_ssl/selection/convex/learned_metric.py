"""A metric for the convex partition, learned from right and wrong predictions through the program's derivative."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from residual_ssl.selection.convex.partition import solve_partition
from residual_ssl.selection.convex.separation import affinity_form

_ITERATIONS = 100
_DISTANCE_PENALTY = 3e-4
_DISCRIMINANT_RIDGE = 1e-3
_FREE_ROW_SCALE = 0.3


class LearnedMetric(NamedTuple):
    """An affinity and the probability of being right that follows from it, ``σ((a - θ)/τ)``.

    Attributes:
        metric: M, ``(d, D)``.
        form: A of :func:`partition_form`, ``(d, d)``.
        threshold: θ, scalar: the affinity at which right and wrong are equally likely.
        temperature: τ > 0, scalar.
    """

    metric: Tensor
    form: Tensor
    threshold: Tensor
    temperature: Tensor


def partition_form(gram: Tensor, *, gamma: float) -> Tensor:
    """The quadratic form of the affinity: ``a_i = f_iᵀ A f_i`` with ``A = P/<G,P> - (I-P)/<G,I-P>``.

    Args:
        gram: G, ``(*, d, d)``, symmetric positive semidefinite.
        gamma: weight of the quadratic term of the program, relative to ``tr G``; > 0 where gradients are wanted.

    Returns:
        A, ``(*, d, d)``; ``P`` solves the program of :func:`~residual_ssl.solve_partition` for ``G / tr G``. The mean
        affinity of the points that gave G is 0, and scaling them changes no affinity.

    Example:
        >>> import torch
        >>> partition_form(torch.tensor([[4.0, 0.0], [0.0, 1.0]]), gamma=0.1)
        tensor([[ 0.2500,  0.0000],
                [ 0.0000, -1.0000]])
    """
    smallest = torch.finfo(gram.dtype).tiny
    size = gram.diagonal(dim1=-2, dim2=-1).sum(-1).clamp(min=smallest)[..., None, None]
    relative = gram / size
    return affinity_form(relative, solve_partition(relative, gamma=gamma)) / size


def affinity(features: Tensor, metric: Tensor, form: Tensor) -> Tensor:
    """``a_i = (M x_i)ᵀ A (M x_i)`` of features ``(*, D)``: ``(*)``, for a metric ``(d, D)`` and a form ``(d, d)``."""
    mapped = features @ metric.mT
    return ((mapped @ form) * mapped).sum(-1)


def correctness_loss(features: Tensor, correct: Tensor, metric: Tensor, calibration: Tensor, *, gamma: float) -> Tensor:
    """Cross-entropy of ``σ(e^κ a_i + β)`` against correctness, with the affinities of the program that M gives.

    Args:
        features: x, ``(N, D)``.
        correct: 1 for a right prediction, 0 for a wrong one, ``(N,)``, floating.
        metric: M, ``(d, D)``.
        calibration: ``(κ, β)``, ``(2,)``.
        gamma: as in :func:`partition_form`, > 0.

    Returns:
        A scalar, differentiable in ``metric`` (through the program) and ``calibration``.
    """
    mapped = features @ metric.mT
    form = partition_form(mapped.mT @ mapped / len(mapped), gamma=gamma)
    logit = calibration[0].exp() * affinity(features, metric, form) + calibration[1]
    return F.binary_cross_entropy_with_logits(logit, correct)


def learn_metric(
    features: Tensor, correct: Tensor, *, dimensions: int, gamma: float, generator: torch.Generator
) -> LearnedMetric:
    """Minimise ``correctness_loss + ρ‖M - M₀‖²`` over M, κ and β by L-BFGS, full batch.

    ``M₀`` contains Fisher's linear discriminant. With ``s`` the discriminant scaled to mean 0 and variance 1 on the
    points, its rows map to ``2(1 + s)``, ``1 - s`` and, from the third on, small random combinations. With two rows
    the affinity is then ``2s``: the leading direction is the first row, and ``(1+s)²/2 - (1-s)²/2 = 2s``. So a linear
    selector is where learning starts, and the quadratic forms around it are what it can reach.

    Args:
        features: ``(N, D)``, float64 on the CPU, standardised, the last one constant 1.
        correct: bool ``(N,)``, with right and wrong predictions among them.
        dimensions: d ≥ 2, rows of M.
        gamma: as in :func:`partition_form`, > 0.
        generator: of the random rows.
    """
    target = correct.to(features.dtype)
    start = _initial_metric(features, target, dimensions, generator)
    share = target.mean()
    with torch.enable_grad():
        metric = start.clone().requires_grad_()
        calibration = torch.stack([torch.zeros_like(share), torch.logit(share)]).requires_grad_()
        optimizer = torch.optim.LBFGS(
            [metric, calibration], max_iter=_ITERATIONS, tolerance_change=1e-10, line_search_fn="strong_wolfe"
        )

        def objective() -> float:
            optimizer.zero_grad()
            loss = correctness_loss(features, target, metric, calibration, gamma=gamma)
            loss = loss + _DISTANCE_PENALTY * (metric - start).square().sum()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.item()

        optimizer.step(objective)  # type: ignore[no-untyped-call]
    metric, calibration = metric.detach(), calibration.detach()
    mapped = features @ metric.mT
    form = partition_form(mapped.mT @ mapped / len(mapped), gamma=gamma)
    temperature = (-calibration[0]).exp()
    return LearnedMetric(metric, form, -calibration[1] * temperature, temperature)


def _initial_metric(features: Tensor, target: Tensor, dimensions: int, generator: torch.Generator) -> Tensor:
    x = features[:, :-1]
    scatter = x.mT @ x / len(x) + _DISCRIMINANT_RIDGE * torch.eye(x.shape[1], dtype=x.dtype)
    direction = torch.linalg.solve(scatter, x.mT @ (target - target.mean()) / len(x))
    direction = direction / (x @ direction).std(correction=0).clamp(min=torch.finfo(x.dtype).tiny)
    discriminant = torch.cat([direction, direction.new_zeros(1)])
    constant = torch.zeros_like(discriminant)
    constant[-1] = 1
    random_rows = torch.randn((dimensions - 2, features.shape[1]), generator=generator, dtype=x.dtype)
    random_rows = random_rows * (_FREE_ROW_SCALE / math.sqrt(features.shape[1]))
    return torch.cat([torch.stack([2 * (constant + discriminant), constant - discriminant]), random_rows])
