"""The partition as the semidefinite program that it is, solved by a conic solver."""

from __future__ import annotations

import torch
from torch import Tensor

from residual_ssl.selection.convex.layer import ConvexProgram, solve_layer


def semidefinite_partition(gram: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """``P* = argmax_P <G, P> - γ/2 ‖P‖²_F subject to 0 ⪯ P ⪯ I, tr P = 1`` by cvxpylayers.

    Args:
        gram: ``(*, d, d)``, symmetric, floating.
        gamma: γ ≥ 0.

    Returns:
        ``P``, of the shape, dtype and device of ``gram``, and which items failed, bool ``(*)``; ``P`` is 0 there. A
        zero matrix with γ = 0 leaves every ``P`` optimal; the central one, ``I/d``, is returned without solving.

    Example:
        >>> import torch
        >>> P, failed = semidefinite_partition(torch.tensor([[3.0, 0.0], [0.0, 1.0]]), gamma=4.0)
        >>> torch.testing.assert_close(P, torch.tensor([[0.75, 0.0], [0.0, 0.25]]))
    """
    size = gram.shape[-1]
    exact = gram.cpu().double().reshape(-1, size, size)
    exact = (exact + exact.mT) / 2
    # P* depends on the ratio of G and γ alone, so a constant factor changes neither the value nor the derivative.
    scale = exact.detach().abs().amax((1, 2)) + gamma
    informed = (scale > 0) | scale.isnan()
    items = informed.nonzero().squeeze(1)
    scale = scale[items]
    parameters = [exact[items] / scale[:, None, None]]
    if gamma > 0:
        parameters.append(gamma / scale)
    solution = solve_layer(_program, (size, gamma > 0), parameters)
    central = (torch.eye(size, dtype=exact.dtype) / size).expand(len(exact), -1, -1)
    program = central.index_copy(0, items, solution.values[0])
    failed = torch.zeros(len(exact), dtype=torch.bool).index_copy(0, items, solution.failed)
    return program.reshape(gram.shape).to(gram.device, gram.dtype), failed.reshape(gram.shape[:-2]).to(gram.device)


def _program(size: int, quadratic: bool) -> ConvexProgram:
    import cvxpy as cp

    gram = cp.Parameter((size, size))
    P = cp.Variable((size, size), symmetric=True)
    parameters = [gram]
    objective = cp.sum(cp.multiply(gram, P))
    if quadratic:
        gamma = cp.Parameter(nonneg=True)
        parameters.append(gamma)
        objective = objective - gamma / 2 * cp.sum_squares(P)
    # P ⪯ I follows from P ⪰ 0 and tr P = 1. Stated again it would make the multipliers ambiguous, and with them the
    # system that gives the derivative singular.
    return ConvexProgram(cp.Problem(cp.Maximize(objective), [P >> 0, cp.trace(P) == 1]), parameters, [P])
