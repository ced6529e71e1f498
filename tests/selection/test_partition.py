"""The semidefinite program, by each solver, against what characterises an optimum."""

import warnings

import pytest
import torch
from torch import Tensor

from residual_ssl import solve_partition
from residual_ssl.errors import InvalidInputError, ResidualSSLWarning

SOLVERS = ("closed_form", "cvxpylayers")


def random_gram(batch: int, d: int, seed: int = 0, rank: int | None = None) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    factor = torch.randn(batch, rank or 3 * d, d, dtype=torch.float64, generator=generator)
    return factor.mT @ factor / factor.shape[1]


def objective(gram: Tensor, program: Tensor, gamma: float) -> Tensor:
    return (gram * program).sum((-1, -2)) - gamma / 2 * program.square().sum((-1, -2))


def random_feasible(count: int, d: int, seed: int) -> Tensor:
    """Matrices with 0 ⪯ P ⪯ I and unit trace: random spectra on the simplex in random bases."""
    generator = torch.Generator().manual_seed(seed)
    spectrum = torch.rand(count, d, dtype=torch.float64, generator=generator).log().neg()
    spectrum = spectrum / spectrum.sum(-1, keepdim=True)
    basis = torch.linalg.qr(torch.randn(count, d, d, dtype=torch.float64, generator=generator)).Q
    return basis * spectrum.unsqueeze(-2) @ basis.mT


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("d", [2, 3, 5, 8])
@pytest.mark.parametrize("gamma", [0.0, 0.3, 2.0, 50.0])
def test_optimum_is_feasible_and_no_feasible_matrix_is_better(d: int, gamma: float, solver: str) -> None:
    gram = random_gram(6, d, seed=d)
    program = solve_partition(gram, gamma=gamma, solver=solver)
    spectrum = torch.linalg.eigvalsh(program)
    torch.testing.assert_close(program, program.mT)
    torch.testing.assert_close(spectrum.sum(-1), torch.ones(6, dtype=torch.float64))
    rounding = {"closed_form": 1e-12, "cvxpylayers": 1e-10}[solver]
    assert spectrum.min() > -rounding
    assert spectrum.max() < 1 + rounding
    rivals = random_feasible(500, d, seed=1)
    for g, p in zip(gram, program, strict=True):
        best = objective(g, p, gamma)
        assert bool((objective(g, rivals, gamma) <= best + rounding).all())
        near = 0.99 * p + 0.01 * rivals
        assert bool((objective(g, near, gamma) <= best + rounding).all())


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("d", [2, 3, 5])
def test_without_gamma_it_projects_on_the_leading_eigenvector(d: int, solver: str) -> None:
    gram = random_gram(4, d)
    leading = torch.linalg.eigh(gram).eigenvectors[..., -1:]
    torch.testing.assert_close(solve_partition(gram, solver=solver), leading @ leading.mT)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("d", [2, 3])
def test_tied_eigenvalues_share_the_weight(d: int, solver: str) -> None:
    expected = torch.eye(d, dtype=torch.float64) / d
    for factor, gamma in ((2.0, 0.0), (0.0, 0.0), (0.0, 0.5)):
        gram = factor * torch.eye(d, dtype=torch.float64)
        torch.testing.assert_close(solve_partition(gram, gamma=gamma, solver=solver), expected)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("d", [2, 3, 6])
@pytest.mark.parametrize("gamma", [0.0, 0.7, 20.0])
def test_gradient_is_that_of_finite_differences(d: int, gamma: float, solver: str) -> None:
    gram = random_gram(3 if solver == "closed_form" else 1, d, seed=7).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda g: solve_partition((g + g.mT) / 2, gamma=gamma, solver=solver), (gram,), eps=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("d", [2, 3, 4])
def test_gradient_is_exact_where_eigenvalues_meet(d: int, solver: str) -> None:
    # Inside the region where every eigenvalue has weight, P = G/γ + (1/d - tr G/(dγ)) I is linear in G.
    gamma = 10.0
    gram = (torch.eye(d, dtype=torch.float64) * 1.5).requires_grad_()
    direction = random_gram(1, d, seed=3)[0]
    (solve_partition(gram, gamma=gamma, solver=solver) * direction).sum().backward()
    expected = (direction - torch.eye(d, dtype=torch.float64) * direction.trace() / d) / gamma
    torch.testing.assert_close(gram.grad, expected)


@pytest.mark.parametrize("solver", SOLVERS)
def test_rank_one_and_empty_matrices_give_finite_gradients(solver: str) -> None:
    for gamma in (0.0, 0.5):
        for d in (2, 3):
            gram = torch.cat([random_gram(2, d, rank=1), torch.zeros(1, d, d, dtype=torch.float64)]).requires_grad_()
            solve_partition(gram, gamma=gamma, solver=solver).square().sum().backward()
            assert gram.grad is not None
            assert bool(gram.grad.isfinite().all())


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("gamma", [0.0, 0.5])
def test_a_non_finite_matrix_gives_nan_for_itself_alone(d: int, gamma: float, solver: str) -> None:
    gram = random_gram(3, d)
    broken = gram.clone()
    broken[1, 0, 1] = torch.nan
    with warnings.catch_warnings(action="ignore", category=ResidualSSLWarning):
        program = solve_partition(broken, gamma=gamma, solver=solver)
    assert bool(program[1].isnan().any())
    expected = solve_partition(gram, gamma=gamma, solver=solver)
    torch.testing.assert_close(program[[0, 2]], expected[[0, 2]])


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_batch_of_none_gives_none(solver: str) -> None:
    assert solve_partition(torch.zeros(0, 2, 2), solver=solver).shape == (0, 2, 2)
    assert solve_partition(torch.zeros(4, 0, 3, 3), gamma=0.1, solver=solver).shape == (4, 0, 3, 3)


@pytest.mark.parametrize(
    ("gram", "options", "message"),
    [
        (torch.zeros(2, 3), {}, r"gram: got torch.float32 of shape \(2, 3\)"),
        (torch.zeros(1, 1), {}, r"gram: .*d ≥ 2"),
        (torch.eye(2), {"gamma": -1.0}, r"gamma: got -1.0, expected a number ≥ 0"),
        (torch.eye(2), {"solver": "newton"}, r"solver: got 'newton', expected one of closed_form"),
    ],
)
def test_wrong_arguments_are_named(gram: Tensor, options: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        solve_partition(gram, **options)  # type: ignore[arg-type]
