"""The convex program behind the selection: a d×d semidefinite program, whatever the number of points."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Literal, get_args

import torch
from torch import Tensor

from residual_ssl.errors import InvalidInputError, ResidualSSLWarning

Solver = Literal["closed_form", "cvxpylayers"]
SOLVERS = get_args(Solver)


def solve_partition(gram: Tensor, *, gamma: float = 0.0, solver: str = "closed_form") -> Tensor:
    """Solve the relaxed two-way partition of points with Gram matrix ``G``::

        P* = argmax_P  <G, P> - γ/2 ‖P‖²_F    subject to   0 ⪯ P ⪯ I,  tr P = 1

    γ = 0 gives the projector on the leading eigenvector, the published spectral method. γ > 0 makes the optimum unique
    and smooth, also where eigenvalues meet: ``P*`` has the eigenvectors of ``G`` and, as eigenvalues, the projection of
    ``λ/γ`` on the probability simplex.

    Args:
        gram: ``(*, d, d)``, symmetric positive semidefinite, float32 or float64, d ≥ 2.
        gamma: weight γ ≥ 0 of the quadratic term, in the unit of ``gram``.
        solver: ``"closed_form"``: by the eigenvectors, on the device of ``gram``. ``"cvxpylayers"``: the program itself
            by a conic solver, in float64 on the CPU; the same values and gradients, milliseconds per matrix. A matrix
            that it fails on is left to the closed form, with a warning, once per process.

    Returns:
        ``P`` of the shape, dtype and device of ``gram``. Where the leading eigenvalues are equal and γ = 0, every
        convex combination of their projectors is optimal; the mean of them is returned. A matrix with a non-finite
        entry gives NaN, for itself alone.

    Raises:
        InvalidInputError: a matrix that is not square or d < 2, a negative γ, an unknown solver.

    Source: Ky Fan's maximum principle; CSL, arXiv 2509.16704, §3.3 (the N×d form of the same relaxation).

    Example:
        >>> import torch
        >>> solve_partition(torch.tensor([[3.0, 0.0], [0.0, 1.0]]))
        tensor([[1., 0.],
                [0., 0.]])
        >>> solve_partition(torch.tensor([[3.0, 0.0], [0.0, 1.0]]), gamma=4.0)
        tensor([[0.7500, 0.0000],
                [0.0000, 0.2500]])
    """
    return solve_partition_counted(gram, gamma=gamma, solver=solver)[0]


def solve_partition_counted(gram: Tensor, *, gamma: float, solver: str) -> tuple[Tensor, Tensor | None]:
    """:func:`solve_partition` and, for a solver that can fail, how often it did: int64 scalar, else None."""
    if gram.dim() < 2 or gram.shape[-1] != gram.shape[-2] or gram.shape[-1] < 2 or not gram.is_floating_point():
        raise InvalidInputError(
            f"gram: got {gram.dtype} of shape {tuple(gram.shape)}, expected floating (*, d, d) with d ≥ 2"
        )
    if not gamma >= 0:
        raise InvalidInputError(f"gamma: got {gamma}, expected a number ≥ 0")
    if solver not in SOLVERS:
        raise InvalidInputError(f"solver: got {solver!r}, expected one of {', '.join(SOLVERS)}")
    if solver == "closed_form":
        return _closed_form(gram, gamma), None
    # Imported where it is used: it marks its solver for torch.compile, which takes torch a second.
    from residual_ssl.selection.convex.semidefinite import semidefinite_partition

    program, failed = semidefinite_partition(gram, gamma)
    fallbacks = failed.sum()
    if fallbacks:
        _warn_of_fallback()
        program = torch.where(failed[..., None, None], _closed_form(gram, gamma), program)
    return program, fallbacks


@cache
def _warn_of_fallback() -> None:
    warnings.warn(
        "solver: 'cvxpylayers' could not solve the program of a group; the closed form was used for it. This is said "
        "once; diagnostics['solver_fallbacks'] of a Selection counts the groups",
        ResidualSSLWarning,
        stacklevel=2,
    )


def _closed_form(gram: Tensor, gamma: float) -> Tensor:
    if gram.shape[-1] == 2:
        return _two_by_two(gram, gamma)
    partition: Tensor = _SpectralPartition.apply(gram, gamma)  # type: ignore[no-untyped-call]
    return partition


def _two_by_two(gram: Tensor, gamma: float) -> Tensor:
    """The program for d = 2 without eigenvectors: no decomposition, hence no host synchronisation on a GPU.

    With ``λ± = m ± ρ`` and projectors ``½I ± (G - mI)/2ρ``, the weights of the two differ by ``min(1, 2ρ/γ)``, so
    ``P = ½I + (G - mI)/max(2ρ, γ)``.
    """
    a, b = gram[..., 0, 0], gram[..., 1, 1]
    c = (gram[..., 0, 1] + gram[..., 1, 0]) / 2
    half = (a - b) / 2
    tiny = torch.finfo(gram.dtype).tiny
    gap = 2 * (half.square() + c.square()).clamp(min=tiny).sqrt()
    scale = gap.clamp(min=gamma)
    x, y = half / scale, c / scale
    rows = torch.stack([0.5 + x, y], -1), torch.stack([y, 0.5 - x], -1)
    return torch.stack(rows, -2)


class _SpectralPartition(torch.autograd.Function):
    """The program for any d by eigendecomposition, with the derivative of a spectral function.

    Differentiating through ``eigh`` divides by differences of eigenvalues and fails where they meet. The derivative
    of P itself is finite there when γ > 0: by Daleckii and Krein, ``dP = U (Φ ∘ UᵀdG U) Uᵀ`` off the diagonal, with
    ``Φ_ij = (p_i - p_j)/(λ_i - λ_j)``, and the Jacobian of the simplex projection on it.
    """

    @staticmethod
    def forward(ctx, gram: Tensor, gamma: float) -> Tensor:  # type: ignore[no-untyped-def]
        # One bad matrix must not fail the decomposition of the batch.
        finite = gram.isfinite().all(-1, keepdim=True).all(-2, keepdim=True)
        eigenvalues, vectors = torch.linalg.eigh(torch.where(finite, (gram + gram.mT) / 2, 0.0))
        weights = _spectral_weights(eigenvalues, gamma)
        ctx.save_for_backward(eigenvalues, vectors, weights)
        ctx.gamma = gamma
        return torch.where(finite, vectors * weights.unsqueeze(-2) @ vectors.mT, torch.nan)

    @staticmethod
    def backward(ctx, grad: Tensor):  # type: ignore[no-untyped-def]
        eigenvalues, vectors, weights = ctx.saved_tensors
        inner = vectors.mT @ ((grad + grad.mT) / 2) @ vectors
        differences = eigenvalues.unsqueeze(-1) - eigenvalues.unsqueeze(-2)
        apart = differences.abs() > _tie_tolerance(eigenvalues)
        ratio = (weights.unsqueeze(-1) - weights.unsqueeze(-2)) / torch.where(apart, differences, 1.0)
        active = (weights > 0).to(grad.dtype)
        both = active.unsqueeze(-1) * active.unsqueeze(-2)
        tied = both / ctx.gamma if ctx.gamma > 0 else torch.zeros_like(both)
        result = torch.where(apart, ratio, tied) * inner
        if ctx.gamma > 0:
            diagonal = inner.diagonal(dim1=-2, dim2=-1)
            mean = (active * diagonal).sum(-1, keepdim=True) / active.sum(-1, keepdim=True)
            result.diagonal(dim1=-2, dim2=-1).copy_(active * (diagonal - mean) / ctx.gamma)
        else:
            result.diagonal(dim1=-2, dim2=-1).zero_()
        return vectors @ result @ vectors.mT, None


def _tie_tolerance(eigenvalues: Tensor) -> Tensor:
    scale = eigenvalues.abs().amax(-1)[..., None, None]
    return scale * (torch.finfo(eigenvalues.dtype).eps * eigenvalues.shape[-1])


def _spectral_weights(eigenvalues: Tensor, gamma: float) -> Tensor:
    """Eigenvalues of P* for ascending ones of G: the projection of λ/γ on the simplex, or its limit for γ → 0."""
    if gamma == 0:
        leading = eigenvalues >= eigenvalues[..., -1:] - _tie_tolerance(eigenvalues)[..., 0]
        return leading / leading.sum(-1, keepdim=True).to(eigenvalues.dtype)
    descending = eigenvalues.flip(-1) / gamma
    count = torch.arange(1, eigenvalues.shape[-1] + 1, device=eigenvalues.device, dtype=eigenvalues.dtype)
    excess = (descending.cumsum(-1) - 1) / count
    kept = (descending > excess).sum(-1, keepdim=True)
    return (eigenvalues / gamma - excess.gather(-1, kept - 1)).clamp(min=0)
