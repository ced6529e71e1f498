"""Convex programs as differentiable functions of tensors, through cvxpylayers: any device, any floating dtype."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from residual_ssl.errors import InvalidInputError

# SCS and not Clarabel: diffcp 1.1.9 does not look at Clarabel's status, so what has no solution comes back as solved,
# and it permutes the duals of a semidefinite cone wrongly from 4×4 on, which makes the gradients wrong.
SCS: Mapping[str, Any] = MappingProxyType({"solve_method": "SCS", "eps": 1e-13, "max_iters": 20_000})


@dataclass(frozen=True)
class ConvexProgram:
    """A parametrised cvxpy program and how to solve it.

    Attributes:
        problem: ``cvxpy.Problem``, DPP; parameters enter affinely.
        parameters: ``cvxpy.Parameter`` in the order in which :func:`solve_layer` gets their values.
        variables: ``cvxpy.Variable`` in the order in which their optimal values come back.
        solver: ``solve_method`` and its options, for diffcp. With Clarabel a program without a solution goes unnoticed.
        derivative: diffcp's way to the derivative: ``"dense"`` is the most accurate one, ``"lsqr"`` the one for more
            than some hundred constraints.
        tolerance: largest violation of a constraint by a solution, checked after solving: for Clarabel, whose status
            diffcp does not look at. None trusts the solver.
    """

    problem: Any
    parameters: Sequence[Any]
    variables: Sequence[Any]
    solver: Mapping[str, Any] = field(default_factory=lambda: SCS)
    derivative: str = "dense"
    tolerance: float | None = None


class LayerSolution(NamedTuple):
    """Optimal values of a batch of programs.

    Attributes:
        values: one tensor ``(B, *variable shape)`` per variable, of the dtype and on the device of the first parameter;
            0, without gradient, at items that failed.
        failed: bool ``(B,)`` on the same device: not solved, or solved less accurately than asked for.
    """

    values: tuple[Tensor, ...]
    failed: Tensor


_Function = TypeVar("_Function", bound=Callable[..., Any])


def _left_out_of_compiled_graphs(function: _Function) -> _Function:
    return torch.compiler.disable(function)  # type: ignore[no-any-return, no-untyped-call]


@_left_out_of_compiled_graphs
def solve_layer(
    build: Callable[..., ConvexProgram], key: tuple[Hashable, ...], parameters: Sequence[Tensor]
) -> LayerSolution:
    """Solve ``build(*key)`` for a batch of parameter values, differentiably in them.

    The program is built once per process and key and kept in a cache of this module: nothing of it becomes part of a
    module, so that models which use it copy, pickle and synchronise as if it were not there. It is solved in float64 on
    the CPU, outside autocast. An item that fails does not take the batch with it: the items are then solved one by one.

    Args:
        build: a module-level function that returns the program.
        key: its arguments, hashable: whatever the structure of the program depends on.
        parameters: for each parameter of the program, values ``(B, *parameter shape)``, floating, B ≥ 0. Scale them to
            the order of 1: the solver's tolerances are absolute.

    Returns:
        The optimal values and which items failed; items with a non-finite parameter are among them.

    Raises:
        InvalidInputError: values that do not have the shape of the program's parameters.

    Source: Agrawal et al., Differentiable convex optimization layers, arXiv 1910.12430.

    Example:
        >>> import cvxpy, torch
        >>> def nearest_distribution(size):
        ...     x, y = cvxpy.Variable(size), cvxpy.Parameter(size)
        ...     problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(x - y)), [x >= 0, cvxpy.sum(x) == 1])
        ...     return ConvexProgram(problem, [y], [x])
        >>> values, failed = solve_layer(nearest_distribution, (2,), [torch.tensor([[0.5, 0.3], [float("nan"), 0.0]])])
        >>> [round(x, 4) for x in values[0][0].tolist()], failed.tolist()
        ([0.6, 0.4], [False, True])
    """
    program, layer = _built(build, key)
    _check_shapes(program, parameters)
    first = parameters[0]
    with torch.autocast("cpu", enabled=False):
        # First to the CPU, then to float64, which some devices lack.
        exact = [values.cpu().double() for values in parameters]
        finite = torch.stack([values.detach().isfinite().unsqueeze(-1).flatten(1).all(1) for values in exact]).all(0)
        solved = _solve(program, layer, exact, finite.nonzero().squeeze(1).tolist())
        results = [exact[0].new_zeros(len(finite), *variable.shape) for variable in program.variables]
        failed = torch.ones_like(finite)
        for items, values in solved:
            where = torch.tensor(items)
            results = [whole.index_copy(0, where, part) for whole, part in zip(results, values, strict=True)]
            failed[where] = False
    return LayerSolution(tuple(result.to(first.device, first.dtype) for result in results), failed.to(first.device))


@lru_cache(maxsize=64)
def _built(build: Callable[..., ConvexProgram], key: tuple[Hashable, ...]) -> tuple[ConvexProgram, Any]:
    # Imported here: cvxpy takes a second to load, and most runs never solve a program.
    from cvxpylayers.torch import CvxpyLayer

    program = build(*key)
    return program, CvxpyLayer(program.problem, list(program.parameters), list(program.variables))


def _check_shapes(program: ConvexProgram, parameters: Sequence[Tensor]) -> None:
    expected = [tuple(parameter.shape) for parameter in program.parameters]
    got = [tuple(values.shape) for values in parameters]
    batch = got[0][:1] if got else ()
    if got != [batch + shape for shape in expected] or len(batch) != 1:
        wanted = ", ".join("(" + ", ".join(["B", *map(str, shape)]) + ")" for shape in expected)
        raise InvalidInputError(f"parameters: got shapes {got}, expected {wanted} with one batch size B")


_Solved = list[tuple[list[int], tuple[Tensor, ...]]]


def _solve(program: ConvexProgram, layer: Any, parameters: list[Tensor], items: list[int]) -> _Solved:
    """The solved ones of ``items`` with their values: all at once, or one by one where one of them fails."""
    if not items:
        return []
    values = _attempt(program, layer, [values[items] for values in parameters])
    if values is not None:
        return [(items, values)]
    if len(items) == 1:
        return []
    return [part for item in items for part in _solve(program, layer, parameters, [item])]


def _attempt(program: ConvexProgram, layer: Any, parameters: list[Tensor]) -> tuple[Tensor, ...] | None:
    from diffcp import SolverError

    # One job: threads cost more than they save on programs of this size, and would compete with those of the caller.
    options: dict[str, Any] = {**program.solver, "n_jobs_forward": 1}
    if torch.is_grad_enabled() and any(values.requires_grad for values in parameters):
        options |= {
            "n_jobs_backward": 1,
            "mode": program.derivative,
        }  # without gradients, diffcp hands them to the solver
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Solved/Inaccurate", category=UserWarning)
            values: tuple[Tensor, ...] = layer(*parameters, solver_args=options)
    except (SolverError, UserWarning, ValueError, RuntimeError, ArithmeticError):
        return None  # by the kind of fault, SCS and diffcp raise any of these
    if not all(math.isfinite(value.detach().sum().item()) for value in values):
        return None
    return None if _violated(program, parameters, values) else values


def _violated(program: ConvexProgram, parameters: Sequence[Tensor], values: Sequence[Tensor]) -> bool:
    if program.tolerance is None:
        return False
    for item in range(len(values[0])):
        for number, given in zip((*program.parameters, *program.variables), (*parameters, *values), strict=True):
            # Rounding must not fail a sign that cvxpy checks on assignment.
            number.save_value(given[item].detach().numpy())
        worst = max(float(constraint.violation().max()) for constraint in program.problem.constraints)
        if worst > program.tolerance:
            return True
    return False
