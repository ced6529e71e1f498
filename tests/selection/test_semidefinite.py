"""The partition by cvxpylayers and in closed form: one program, values and gradients alike, and the way back."""

import warnings
from typing import Any

import pytest
import torch
from diffcp import SolverError
from torch import Tensor

from residual_ssl import ConvexSelector, solve_partition
from residual_ssl.errors import ResidualSSLWarning
from residual_ssl.selection.convex import layer as convex_layer
from residual_ssl.selection.convex import partition
from residual_ssl.selection.convex.partition import solve_partition_counted


def gram_with(eigenvalues: list[float], batch: int, seed: int) -> Tensor:
    size = len(eigenvalues)
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(batch, size, size, dtype=torch.float64, generator=generator)).Q
    return basis * torch.tensor(eigenvalues, dtype=torch.float64) @ basis.mT


def spectra(size: int) -> dict[str, list[float]]:
    rest = [0.4 * (size - i) / size for i in range(1, size)]
    return {
        "random": [1.0, *rest],
        "near tie": [1.0, 1 - 1e-4, *rest[1:]],
        "nearer tie": [1.0, 1 - 1e-6, *rest[1:]],
        "rank one": [1.0] + [0.0] * (size - 1),
        "image": [0.8] + [1e-5 / i for i in range(1, size)],
    }


def value_and_gradient(gram: Tensor, gamma: float, solver: str) -> tuple[Tensor, Tensor]:
    direction = torch.randn(gram.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    gram = gram.clone().requires_grad_()
    program = solve_partition(gram, gamma=gamma, solver=solver)
    (gradient,) = torch.autograd.grad((program * direction).sum(), gram)
    return program.detach(), gradient


def relative(difference: Tensor, reference: Tensor) -> float:
    return (difference.norm(dim=(1, 2)) / reference.norm(dim=(1, 2))).max().item()


@pytest.mark.parametrize("size", range(2, 9))
@pytest.mark.parametrize("kind", ["random", "near tie", "nearer tie", "rank one", "image"])
def test_solvers_agree(size: int, kind: str) -> None:
    gram = gram_with(spectra(size)[kind], 3, seed=size)
    for gamma in (0.0, 0.01, 0.3, 5.0) if kind != "nearer tie" else (0.01, 0.3):
        exact, slope = value_and_gradient(gram, gamma, "closed_form")
        solved, solved_slope = value_and_gradient(gram, gamma, "cvxpylayers")
        assert (solved - exact).abs().max() <= 1e-5, f"γ = {gamma}"
        assert relative(solved_slope - slope, slope) <= 1e-3, f"γ = {gamma}"


@pytest.mark.parametrize("factor", [1e-12, 1e6])
def test_the_unit_of_the_features_does_not_matter(factor: float) -> None:
    gram = gram_with([1.0, 0.3, 0.1], 2, seed=0)
    exact, slope = value_and_gradient(gram, 0.3, "cvxpylayers")
    scaled, scaled_slope = value_and_gradient(gram * factor, 0.3 * factor, "cvxpylayers")
    torch.testing.assert_close(scaled, exact, atol=1e-9, rtol=0)
    torch.testing.assert_close(scaled_slope * factor, slope, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_lower_precision_is_solved_in_double(dtype: torch.dtype) -> None:
    gram = gram_with([1.0, 0.3, 0.1], 2, seed=0).to(dtype)
    solved = solve_partition(gram, gamma=0.2, solver="cvxpylayers")
    assert solved.dtype == dtype
    torch.testing.assert_close(solved, solve_partition(gram.double(), gamma=0.2).to(dtype))


def test_any_batch_shape_and_each_item_by_itself() -> None:
    gram = gram_with([1.0, 0.3], 6, seed=0)
    whole = solve_partition(gram.reshape(2, 3, 2, 2), gamma=0.2, solver="cvxpylayers").reshape(6, 2, 2)
    for g, program in zip(gram, whole, strict=True):
        torch.testing.assert_close(solve_partition(g, gamma=0.2, solver="cvxpylayers"), program)


@pytest.fixture
def faulty_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    """A solver that gives up where the second feature is the larger one."""
    built = convex_layer._built

    def faulty(*arguments: Any) -> tuple[Any, Any]:
        program, layer = built(*arguments)

        def solve(gram: Tensor, *rest: Tensor, **options: Any) -> tuple[Tensor, ...]:
            if (gram[:, 1, 1] > gram[:, 0, 0]).any():
                raise SolverError("Solver scs returned status failure")
            return layer(gram, *rest, **options)  # type: ignore[no-any-return]

        return program, solve

    monkeypatch.setattr(convex_layer, "_built", faulty)
    partition._warn_of_fallback.cache_clear()


@pytest.mark.usefixtures("faulty_solver")
@pytest.mark.parametrize("gamma", [0.0, 0.5])
def test_what_the_solver_fails_on_is_left_to_the_closed_form_and_counted(gamma: float) -> None:
    gram = torch.stack([torch.diag(torch.tensor(x)).double() for x in ([3.0, 1.0], [1.0, 3.0], [1.0, 4.0])])
    with pytest.warns(ResidualSSLWarning, match="solver: 'cvxpylayers' could not solve"):
        program, fallbacks = solve_partition_counted(gram, gamma=gamma, solver="cvxpylayers")
    assert fallbacks is not None
    assert fallbacks.dtype == torch.int64
    assert fallbacks == 2
    torch.testing.assert_close(program, solve_partition(gram, gamma=gamma))
    with warnings.catch_warnings(action="error", category=ResidualSSLWarning):  # said once
        failing = value_and_gradient(gram[1:2], gamma, "cvxpylayers")
    torch.testing.assert_close(failing, value_and_gradient(gram[1:2], gamma, "closed_form"))


@pytest.mark.usefixtures("faulty_solver")
def test_the_count_reaches_the_diagnostics(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randn(3, 5, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    clean = ConvexSelector(solver="cvxpylayers")(logits)
    assert clean.diagnostics["solver_fallbacks"] == 0
    assert "solver_fallbacks" not in ConvexSelector()(logits).diagnostics

    monkeypatch.setattr(convex_layer, "_attempt", lambda *arguments: None)
    with pytest.warns(ResidualSSLWarning):
        chosen = ConvexSelector(solver="cvxpylayers")(logits)
    assert chosen.diagnostics["solver_fallbacks"] == 3
    torch.testing.assert_close(chosen.weight, clean.weight)
