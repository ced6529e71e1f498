"""The cvxpylayers plumbing, on a program with a known solution: the projection on the probability simplex."""

import subprocess
import sys
from typing import Any

import cvxpy as cp
import pytest
import torch
from diffcp import SolverError
from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.selection.convex import layer as convex_layer
from residual_ssl.selection.convex.layer import ConvexProgram, solve_layer

POINTS = torch.tensor([[0.7, 0.1, 0.4], [2.0, -1.0, 0.3], [0.2, 0.3, 0.1], [-0.5, 0.4, 0.6]], dtype=torch.float64)


def projection(size: int) -> ConvexProgram:
    x, y = cp.Variable(size), cp.Parameter(size)
    return ConvexProgram(cp.Problem(cp.Minimize(cp.sum_squares(x - y)), [x >= 0, cp.sum(x) == 1]), [y], [x])


def bounded_projection(size: int) -> ConvexProgram:
    """Nearest point with a given sum, in the unit box; infeasible for a sum beyond the size."""
    x, y, total = cp.Variable(size), cp.Parameter(size), cp.Parameter()
    constraints = [x >= 0, x <= 1, cp.sum(x) == total]
    return ConvexProgram(cp.Problem(cp.Minimize(cp.sum_squares(x - y)), constraints), [y, total], [x])


def on_simplex(point: Tensor) -> Tensor:
    """The projection by its definition: the shift that makes the positive parts sum to 1, found by bisection."""
    low, high = point.min() - 1, point.max()
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if (point - middle).clamp(min=0).sum() > 1 else (low, middle)
    return (point - low).clamp(min=0)


def project(points: Tensor) -> Tensor:
    solution = solve_layer(projection, (points.shape[1],), [points])
    assert not solution.failed.any()
    return solution.values[0]


def test_solves_every_item_of_the_batch() -> None:
    expected = torch.stack([on_simplex(point) for point in POINTS])
    torch.testing.assert_close(project(POINTS), expected, atol=1e-9, rtol=0)
    for point, value in zip(POINTS, expected, strict=True):
        torch.testing.assert_close(project(point[None])[0], value, atol=1e-9, rtol=0)


def test_is_differentiable() -> None:
    assert torch.autograd.gradcheck(project, (POINTS.clone().requires_grad_(),), eps=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_values_and_gradients_keep_the_dtype(dtype: torch.dtype) -> None:
    points = POINTS.to(dtype, copy=True).requires_grad_()
    values = project(points)
    values.square().sum().backward()
    assert values.dtype == dtype
    assert points.grad is not None
    assert points.grad.dtype == dtype
    torch.testing.assert_close(values, project(points.detach().double()).to(dtype))


def test_autocast_changes_nothing() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = project(POINTS.float())
    torch.testing.assert_close(mixed, project(POINTS.float()), atol=0, rtol=0)


def test_works_without_gradients() -> None:
    with torch.no_grad():
        values = project(POINTS.clone().requires_grad_())
    assert not values.requires_grad
    with torch.inference_mode():
        torch.testing.assert_close(project(POINTS), values)


def test_a_batch_of_none_gives_none() -> None:
    values, failed = solve_layer(projection, (3,), [torch.zeros(0, 3)])
    assert values[0].shape == (0, 3)
    assert failed.shape == (0,)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_non_finite_item_fails_alone(bad: float) -> None:
    broken = POINTS.clone()
    broken[2, 1] = bad
    broken.requires_grad_()
    values, failed = solve_layer(projection, (3,), [broken])
    assert failed.tolist() == [False, False, True, False]
    kept = [0, 1, 3]
    torch.testing.assert_close(values[0][kept], project(POINTS)[kept])
    values[0].square().sum().backward()
    assert broken.grad is not None
    assert not broken.grad[2].any()
    assert bool(broken.grad[kept].any(1).all())


def test_an_infeasible_item_fails_alone() -> None:
    totals = torch.tensor([1.0, 5.0, 2.0, 1.0], dtype=torch.float64)
    values, failed = solve_layer(bounded_projection, (3,), [POINTS, totals])
    assert failed.tolist() == [False, True, False, False]
    torch.testing.assert_close(values[0].sum(1), torch.tensor([1.0, 0.0, 2.0, 1.0], dtype=torch.float64))


def test_an_item_that_is_not_solved_to_the_accuracy_asked_for_fails() -> None:
    def impatient(size: int) -> ConvexProgram:
        plain = projection(size)
        options = {**convex_layer.SCS, "max_iters": 3}
        return ConvexProgram(plain.problem, plain.parameters, plain.variables, options)

    assert bool(solve_layer(impatient, (3,), [POINTS]).failed.all())


def test_a_fault_of_the_solver_fails_its_item_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    program, layer = convex_layer._built(projection, (3,))

    def faulty(points: Tensor, **options: Any) -> tuple[Tensor, ...]:
        if (points[:, 0] == 2).any():
            raise SolverError("no")
        return layer(points, **options)  # type: ignore[no-any-return]

    monkeypatch.setattr(convex_layer, "_built", lambda build, key: (program, faulty))
    values, failed = solve_layer(projection, (3,), [POINTS])
    assert failed.tolist() == [False, True, False, False]
    torch.testing.assert_close(values[0][0], on_simplex(POINTS[0]), atol=1e-9, rtol=0)


def test_a_program_is_built_once() -> None:
    built = []

    def counted(size: int) -> ConvexProgram:
        built.append(size)
        return projection(size)

    for size in (3, 3, 2):
        solve_layer(counted, (size,), [POINTS[:, :size]])
    assert built == [3, 2]


def test_parameters_of_another_shape_are_named() -> None:
    with pytest.raises(InvalidInputError, match=r"parameters: got shapes \[\(4, 2\)\], expected \(B, 3\)"):
        solve_layer(projection, (3,), [POINTS[:, :2]])
    with pytest.raises(InvalidInputError, match=r"expected \(B, 3\), \(B\) with one batch size"):
        solve_layer(bounded_projection, (3,), [POINTS, torch.ones(3)])


def test_importing_the_library_does_not_load_cvxpy() -> None:
    code = "import residual_ssl, sys; print(*{'cvxpy', 'cvxpylayers', 'diffcp'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == ""
