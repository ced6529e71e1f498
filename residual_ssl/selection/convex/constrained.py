"""Selection as a small quadratic program over reliability bins and classes, with a budget and bands on class shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.selection.convex.layer import ConvexProgram, solve_layer
from residual_ssl.selection.features import JudgedPoints, judged_points
from residual_ssl.selection.points.bins import ReliabilityBins, between, correctness_table, interpolated
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector

# Larger than the value of any mass that a slack could admit, down to classes with a share of 1 %.
_SLACK_PRICE = 100.0
_RIDGE = 1e-6
#: Weight beyond which a point is trusted in full.
FULL = 1 - 1e-6
_TOLERANCE = 1e-5


@dataclass(frozen=True)
class SelectionProgram:
    """The parts of the program that a constraint of one's own may speak of, as cvxpy expressions.

    Attributes:
        weight: variable ``(K, bins)``, the weight of each class in each bin, in [0, 1], rising along the bins.
        mass: parameter ``(K, bins)``, the share of all points in each class and bin; sums to 1.
        class_mass: expression ``(K,)``, the share of all points that is selected with each predicted class.
        coverage: expression, their sum.
    """

    weight: Any
    mass: Any
    class_mass: Any
    coverage: Any


Constraints = Callable[[SelectionProgram], Sequence[Any]]


class ConstrainedConvexSelector(Selector):
    """Choose how much of each class and reliability bin to trust, under constraints on the whole choice.

    All points of a batch are sorted into bins of confidence for each predicted class. With ``n_j`` the share of the
    points in bin ``j`` and ``q_j`` their expected correctness, the weights solve::

        maximise    Σ n_j w_j (q_j - ρ) - γ/2 Σ n_j w_j²
        subject to  0 ≤ w ≤ 1, rising with reliability within a class,
                    low ≤ Σ n_j w_j ≤ high                                        coverage
                    π_k (1-δ) t ≤ Σ_{j of class k} n_j w_j ≤ π_k (1+δ) t          class shares, t = Σ n_j w_j

    Without coupling constraints ``w_j = clip((q_j - ρ)/γ, 0, 1)``. Coverage and shares carry slacks at a high price,
    so the program always has a solution, and a unique one. Bins are nodes of a piecewise linear function of
    confidence: a point between two nodes counts for both and gets the weight in between, so what holds for the bins
    holds for the points. The size of the program is that of the table, never that of the image.

    Formula: ``max Σ_j n_j (w_j (q_j - ρ) - γ/2 w_j²)`` over classes and bins of confidence, under bounds on coverage
    and class shares; without these ``w = clip((q - ρ)/γ, 0, 1)``, ρ = .7, γ = .2

    State: class shares and correctness of each class at each confidence, from :meth:`fit`, which every process calls
    on the same data; none changes in ``forward``.

    Cost: a quadratic program of K·bins variables on the CPU for each batch; the device waits for it.

    Use: where a budget or bands on class shares must hold, and labelled samples outside training are at hand to fit on.

    Source: the bands on class shares are those of class-balanced self-training, arXiv 1810.07911, as constraints.

    Args:
        num_classes: K ≥ 2.
        prior: expected share of each class among the selected points, K numbers that are made to sum to 1; None:
            estimated by :meth:`fit`, and no constraint on shares before that.
        band: δ ≥ 0, how far a share may be from the prior's, relatively.
        coverage: smallest and largest share of the points to select.
        price: ρ in [0, 1], the correctness below which a point is not worth selecting.
        gamma: γ > 0, the range of correctness over which the weight rises from 0 to 1.
        bins: nodes of confidence, ≥ 2.
        constraints: further constraints: a module-level function of a :class:`SelectionProgram` that returns a list
            of cvxpy constraints. They get no slack: see to it that w = 0 satisfies them.

    ``forward`` takes logits ``(B, K, *S)``; gradients reach them where they are asked for. ``diagnostics``:
    ``nonfinite``, and ``solver_fallbacks``, 1 where the solver failed and the unconstrained weights were used instead.

    Raises:
        InvalidInputError: a choice outside its range; logits of another number of classes.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[4.0, 0.0], [3.0, 0.0], [0.2, 0.0], [0.0, 3.5], [0.0, 0.1]])
        >>> ConstrainedConvexSelector(2, bins=4)(logits).weight.round(decimals=1)
        tensor([1., 1., 0., 1., 0.])
    """

    sized_by_data = ("nodes", "correctness")
    prior: Tensor
    nodes: Tensor
    correctness: Tensor

    def __init__(
        self,
        num_classes: int,
        prior: Sequence[float] | None = None,
        *,
        band: float = 0.5,
        coverage: tuple[float, float] = (0.0, 1.0),
        price: float = 0.7,
        gamma: float = 0.2,
        bins: int = 10,
        constraints: Constraints | None = None,
    ) -> None:
        super().__init__()
        _check(num_classes, prior, band, coverage, price, gamma, bins)
        self.num_classes = num_classes
        self.band = band
        self.coverage = (float(coverage[0]), float(coverage[1]))
        self.price = price
        self.gamma = gamma
        self.bins = bins
        self.constraints = constraints
        shares = torch.full((num_classes,), torch.nan) if prior is None else torch.tensor(prior, dtype=torch.float64)
        self.add_state("prior", (shares / shares.sum()).double(), "mean")
        # Correctness as a function of confidence, class by class; until it is fitted, confidence itself.
        self.add_state("nodes", torch.tensor([0.0, 1.0], dtype=torch.float64), "mean")
        self.add_state("correctness", torch.tensor([[0.0, 1.0]], dtype=torch.float64).repeat(num_classes, 1), "mean")

    @torch.no_grad()
    def fit(
        self, logits: Tensor, labels: Tensor, valid: Tensor | None = None, *, ignore_index: int = 255
    ) -> ConstrainedConvexSelector:
        """Estimate the prior and the correctness of each class at each confidence from labelled predictions.

        Args:
            logits: ``(B, K, *S)`` on samples that the model has not been trained on.
            labels: int64 ``(B, *S)``, class ids or ``ignore_index``.
            valid: bool ``(B, *S)`` or None.
            ignore_index: id of points without a label.

        Raises:
            InvalidInputError: labels of another shape, or none at a valid point.
        """
        points = judged_points(self._checked(logits), valid)
        if labels.shape != points.label.shape:
            raise InvalidInputError(f"labels: got shape {tuple(labels.shape)}, expected {tuple(points.label.shape)}")
        known = points.valid & (labels != ignore_index)
        if not known.any():
            raise InvalidInputError("labels: got none at a valid point, expected some to learn from")
        counts = torch.bincount(labels[known], minlength=self.num_classes).double()
        if len(counts) > self.num_classes:
            raise InvalidInputError(f"labels: got id {len(counts) - 1}, expected ids below {self.num_classes}")
        nodes, correctness = correctness_table(
            points.confidence[known].double(),
            points.label[known],
            (points.label == labels)[known],
            self.num_classes,
            self.bins,
        )
        for name, value in (("prior", counts / counts.sum()), ("nodes", nodes), ("correctness", correctness)):
            self.set_state(name, value)
        return self

    def features(self, logits: Tensor, valid: Tensor | None) -> JudgedPoints:
        return super().features(self._checked(logits), valid)

    def judge(self, points: JudgedPoints, logits: Tensor) -> Selection:
        confidence, label = points.confidence[points.valid].double(), points.label[points.valid]
        chosen, fallbacks = confidence, torch.zeros((), dtype=torch.int64, device=logits.device)
        if confidence.numel():
            expected = interpolated(self.nodes, self.correctness, confidence, label)
            bins = ReliabilityBins.of(confidence, label, self.num_classes, self.bins)
            table, failed = self._solve(bins.mass(), bins.mean(expected))
            chosen, fallbacks = bins.spread(table), failed.long()
        weight = torch.zeros_like(points.confidence).masked_scatter(points.valid, chosen.to(points.confidence.dtype))
        trusted = weight > FULL
        selection = self.select(points, trusted, torch.where(trusted, torch.ones_like(weight), weight))
        return selection.with_diagnostics(solver_fallbacks=fallbacks)

    def table_of_bins(self, counts: Tensor, confidence: Tensor) -> tuple[Tensor, Tensor]:
        """Nodes ``(M,)`` and weights ``(K, M)`` for points given by their numbers ``(K, N)`` at N confidences."""
        reached = counts.sum(0).cumsum(0)
        levels = torch.linspace(0, 1, self.bins, dtype=torch.float64) * (reached[-1] - 1).clamp(min=0)
        nodes = confidence[torch.searchsorted(reached, levels.long(), right=True).clamp(max=len(confidence) - 1)]
        values, label = confidence.repeat(len(counts)), torch.arange(len(counts)).repeat_interleave(len(confidence))
        lower, fraction = between(nodes, values)
        bins = ReliabilityBins(label * self.bins + lower, fraction, (self.num_classes, self.bins), counts.flatten())
        expected = interpolated(self.nodes.cpu(), self.correctness.cpu(), values, label)
        return nodes, self._solve(bins.mass(), bins.mean(expected))[0]

    def _solve(self, mass: Tensor, correctness: Tensor) -> tuple[Tensor, Tensor]:
        """Weights ``(K, bins)`` and whether the solver failed, for shares and expected correctness of the bins."""
        ones = torch.ones(self.num_classes, dtype=mass.dtype, device=mass.device)
        if self.prior.isnan().any():
            low, high = 0 * ones, ones
        else:
            low, high = self.prior * (1 - self.band), (self.prior * (1 + self.band)).clamp(max=1)
        budget = [ones[:1].squeeze() * bound for bound in self.coverage]
        gain = mass * (correctness - self.price)
        root = (self.gamma * mass + _RIDGE).sqrt()
        parameters = [value.unsqueeze(0) for value in (mass, gain, root, low.clamp(min=0), high, *budget)]
        key = (self.num_classes, self.bins, self.constraints)
        (weight, *_), failed = solve_layer(selection_program, key, parameters)
        alone = ((correctness - self.price) / self.gamma).clamp(0, 1).cummax(1).values
        return torch.where(failed[0], alone, weight[0].clamp(0, 1)), failed[0]

    def _checked(self, logits: Tensor) -> Tensor:
        if logits.dim() > 1 and logits.shape[1] not in (1, self.num_classes):
            raise InvalidInputError(
                f"logits: got {logits.shape[1]} classes (shape {tuple(logits.shape)}), expected {self.num_classes}"
            )
        return logits

    def extra_repr(self) -> str:
        return f"{self.num_classes}, band={self.band}, coverage={self.coverage}, price={self.price}, gamma={self.gamma}"


def selection_program(num_classes: int, bins: int, constraints: Constraints | None) -> ConvexProgram:
    """The program of :class:`ConstrainedConvexSelector` for :func:`solve_layer`."""
    import cvxpy as cp

    weight, total = cp.Variable((num_classes, bins)), cp.Variable()
    over, under, outside = (cp.Variable(size, nonneg=True) for size in (num_classes, num_classes, 2))
    mass, gain, root = (cp.Parameter((num_classes, bins), nonneg=sign) for sign in (True, False, True))
    low, high = cp.Parameter(num_classes, nonneg=True), cp.Parameter(num_classes, nonneg=True)
    least, most = cp.Parameter(nonneg=True), cp.Parameter(nonneg=True)
    class_mass = cp.sum(cp.multiply(mass, weight), axis=1)
    conditions = [
        weight >= 0,
        weight <= 1,
        cp.diff(weight, axis=1) >= 0,
        total == cp.sum(class_mass),  # a variable of its own, so that shares of it are linear in the parameters
        class_mass <= cp.multiply(high, total) + over,
        class_mass >= cp.multiply(low, total) - under,
        total >= least - outside[0],
        total <= most + outside[1],
        *(constraints(SelectionProgram(weight, mass, class_mass, total)) if constraints is not None else ()),
    ]
    slack = cp.sum(over) + cp.sum(under) + cp.sum(outside)
    quadratic = cp.sum_squares(cp.multiply(root, weight)) + _RIDGE * (
        cp.sum_squares(over) + cp.sum_squares(under) + cp.sum_squares(outside)
    )
    value = cp.sum(cp.multiply(gain, weight)) - 0.5 * quadratic - _SLACK_PRICE * slack
    return ConvexProgram(
        cp.Problem(cp.Maximize(value), conditions),
        [mass, gain, root, low, high, least, most],
        [weight, total, over, under, outside],
        solver={
            "solve_method": "CLARABEL",
            "tol_gap_abs": 1e-12,
            "tol_gap_rel": 1e-12,
            "tol_feas": 1e-12,
        },  # no semidefinite cone, and some twenty times faster
        derivative="lsqr",
        tolerance=_TOLERANCE,
    )


def _check(
    num_classes: int,
    prior: Sequence[float] | None,
    band: float,
    coverage: tuple[float, float],
    price: float,
    gamma: float,
    bins: int,
) -> None:
    faults = [
        f"{name}: got {value!r}, expected {expected}"
        for name, value, expected, good in (
            ("num_classes", num_classes, "at least 2", num_classes >= 2),
            ("band", band, "a number ≥ 0", band >= 0),
            ("coverage", coverage, "0 ≤ smallest ≤ largest ≤ 1", 0 <= coverage[0] <= coverage[1] <= 1),
            ("price", price, "a correctness in [0, 1]", 0 <= price <= 1),
            ("gamma", gamma, "a number > 0", gamma > 0),
            ("bins", bins, "at least 2", bins >= 2),
            (
                "prior",
                prior,
                f"{num_classes} shares ≥ 0, not all 0, or None",
                prior is None or (len(prior) == num_classes and min(prior) >= 0 and sum(prior) > 0),
            ),
        )
        if not good
    ]
    if faults:
        raise InvalidInputError("\n".join(faults))
