"""ConstrainedConvexSelector: its constraints, its optimum, and what it learns from labels."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.selection import ConstrainedConvexSelector, SelectionProgram
from residual_ssl.selection.convex import constrained
from residual_ssl.selection.convex.layer import LayerSolution
from residual_ssl.selection.points.bins import ReliabilityBins, correctness_table
from residual_ssl.testing import SelectorContract, random_logits

PRIOR = [0.4, 0.3, 0.15, 0.1, 0.05]
PRIOR_3 = [0.5, 0.3, 0.2]
TOLERANCE = 1e-4


def bound_to(prior: list[float], bins: int) -> ConstrainedConvexSelector:
    return ConstrainedConvexSelector(3, prior, band=0.3, coverage=(0.2, 0.5), price=0.4, gamma=0.5, bins=bins)


class TestContract(SelectorContract):
    per_sample = False
    host_free = False

    def make(self) -> ConstrainedConvexSelector:
        return ConstrainedConvexSelector(5, PRIOR, coverage=(0.2, 0.6))

    def test_two_classes(self) -> None:
        chosen = ConstrainedConvexSelector(2, price=0.6)(random_logits((2, 2, 8, 8)))
        assert 0 < chosen.coverage < 1

    def test_an_empty_sample_beside_a_full_one(self) -> None:
        logits = random_logits((2, 5, 6, 6))
        valid = torch.ones(2, 6, 6, dtype=torch.bool)
        valid[0] = False
        chosen = self.make()(logits, valid)
        torch.testing.assert_close(chosen.weight[1:], self.make()(logits[1:]).weight)
        assert not chosen.weight[0].any()

    # Within the tolerance of the solver, 1e-5, which other processors round differently.
    def test_a_permutation_of_the_points_permutes_the_result(self) -> None:
        logits = random_logits((2, 5, 60))
        order = torch.randperm(60, generator=torch.Generator().manual_seed(4))
        moved, plain = self.make()(logits[:, :, order]).weight, self.make()(logits).weight[:, order]
        torch.testing.assert_close(moved, plain, atol=1e-5, rtol=0)

    def test_a_shift_of_the_logits_changes_nothing(self) -> None:
        logits = random_logits((2, 5, 8, 8))
        shift = 10 * torch.randn(2, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
        torch.testing.assert_close(self.make()(logits + shift).weight, self.make()(logits).weight, atol=1e-5, rtol=0)


def class_shares(label: Tensor, weight: Tensor, classes: int) -> Tensor:
    masses = torch.stack([weight[label == k].sum() for k in range(classes)])
    return masses / masses.sum()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("coverage", [(0.0, 0.3), (0.5, 0.7), (0.6, 0.6)])
def test_coverage_and_class_shares_of_the_points_keep_their_bounds(seed: int, coverage: tuple[float, float]) -> None:
    logits = random_logits((3, 5, 20, 20), seed=seed)
    chosen = ConstrainedConvexSelector(5, PRIOR, band=0.8, coverage=coverage, price=0.5)(logits)
    assert chosen.diagnostics["solver_fallbacks"] == 0
    weight = chosen.weight
    assert coverage[0] - TOLERANCE <= weight.mean() <= coverage[1] + TOLERANCE
    shares = class_shares(chosen.label, weight, 5)
    prior = torch.tensor(PRIOR, dtype=torch.float64)
    assert bool((shares <= prior * 1.8 + TOLERANCE).all())
    assert bool((shares >= prior * 0.2 - TOLERANCE).all())
    for k in range(5):
        own = chosen.label == k
        rising = weight[own][chosen.confidence[own].argsort()]
        assert rising.diff().min() >= -TOLERANCE


def random_table(classes: int, bins: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    mass = torch.rand(classes, bins, generator=generator, dtype=torch.float64)
    correctness = torch.rand(classes, bins, generator=generator, dtype=torch.float64).sort(1).values
    return mass / mass.sum(), correctness


def random_weights(count: int, classes: int, bins: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    rising = torch.rand(count, classes, bins, generator=generator, dtype=torch.float64).sort(2).values
    return rising * torch.rand(count, classes, 1, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("seed", range(3))
def test_no_feasible_weights_are_better(seed: int) -> None:
    selector = bound_to(PRIOR_3, bins=4)
    mass, correctness = random_table(3, 4, seed)
    best, failed = selector._solve(mass, correctness)
    assert not failed

    def value(weight: Tensor) -> Tensor:
        return (mass * (weight * (correctness - 0.4) - 0.25 * weight.square())).sum((-1, -2))

    def feasible(weight: Tensor) -> Tensor:
        masses = (mass * weight).sum(-1)
        total = masses.sum(-1, keepdim=True)
        prior = torch.tensor(PRIOR_3, dtype=torch.float64)
        shares = (masses <= 1.3 * prior * total + 1e-9) & (masses >= 0.7 * prior * total - 1e-9)
        return shares.all(-1) & (total[..., 0] >= 0.2) & (total[..., 0] <= 0.5)

    assert bool((best.diff(dim=1) >= -TOLERANCE).all())
    rivals = random_weights(200_000, 3, 4, seed)
    near = 0.98 * best + 0.02 * rivals
    tried = torch.cat([rivals, near])
    tried = tried[feasible(tried)]
    assert len(tried) > 300
    assert bool((value(tried) <= value(best) + 1e-5).all())


def test_without_coupling_the_weight_is_a_ramp_in_correctness() -> None:
    selector = ConstrainedConvexSelector(3, price=0.4, gamma=0.3, bins=6)
    mass, correctness = random_table(3, 6, 0)
    weight, _ = selector._solve(mass, correctness)
    torch.testing.assert_close(weight, ((correctness - 0.4) / 0.3).clamp(0, 1), atol=2e-4, rtol=0)


def test_weights_rise_with_reliability_where_correctness_does_not() -> None:
    mass = torch.full((2, 4), 0.125, dtype=torch.float64)
    correctness = torch.tensor([[0.9, 0.5, 0.3, 0.8], [0.9, 0.8, 0.7, 0.6]], dtype=torch.float64)
    weight, _ = ConstrainedConvexSelector(2, price=0.4, gamma=1.0, bins=4)._solve(mass, correctness)
    assert weight.diff(dim=1).min() >= -TOLERANCE
    # Without the constraint the weights are (q - ρ)/γ; the nearest rising ones pool what falls (isotonic regression).
    expected = torch.tensor([[1 / 6, 1 / 6, 1 / 6, 0.4], [0.35, 0.35, 0.35, 0.35]], dtype=torch.float64)
    torch.testing.assert_close(weight, expected, atol=TOLERANCE, rtol=0)


def test_contradictory_bounds_still_give_weights() -> None:
    selector = ConstrainedConvexSelector(5, [1, 0, 0, 0, 0], band=0.0, coverage=(0.95, 1.0))
    chosen = selector(random_logits((2, 5, 10, 10)))
    assert chosen.diagnostics["solver_fallbacks"] == 0
    assert bool(chosen.weight.isfinite().all())
    assert chosen.coverage > 0


def test_the_table_is_differentiable() -> None:
    selector = bound_to(PRIOR_3, bins=3)
    mass, correctness = (value.requires_grad_() for value in random_table(3, 3, 1))
    assert torch.autograd.gradcheck(lambda m, q: selector._solve(m, q)[0], (mass, correctness), eps=1e-4, atol=5e-3)


def test_gradients_reach_the_logits() -> None:
    logits = random_logits((2, 5, 10, 10)).requires_grad_()
    ConstrainedConvexSelector(5, PRIOR, coverage=(0.2, 0.5))(logits).weight.square().mean().backward()
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())
    assert logits.grad.abs().max() > 1e-6


def test_weights_of_points_and_of_bins_have_the_same_sums() -> None:
    generator = torch.Generator().manual_seed(0)
    reliability = torch.rand(500, generator=generator, dtype=torch.float64)
    label = torch.randint(0, 4, (500,), generator=generator)
    bins = ReliabilityBins.of(reliability, label, 4, 7)
    table = torch.rand(4, 7, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(bins.spread(table).mean(), (bins.mass() * table).sum())
    torch.testing.assert_close(bins.mass().sum(), torch.ones((), dtype=torch.float64))
    torch.testing.assert_close((bins.mean(reliability) * bins.mass()).sum(), reliability.mean())


def test_fitting_estimates_the_prior_and_the_correctness_of_each_class() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = random_logits((1, 3, 30_000), seed=1)
    guess = logits.argmax(1)
    confidence = logits.softmax(1).amax(1)
    # Class 2 is right half as often as its confidence says, the others as often.
    right = torch.rand(guess.shape, generator=generator) < confidence * torch.where(guess == 2, 0.5, 1.0)
    labels = torch.where(right, guess, (guess + 1) % 3)
    labels[:, ::7] = 255
    selector = ConstrainedConvexSelector(3, band=1.0).fit(logits, labels)
    known = labels[labels != 255]
    torch.testing.assert_close(selector.prior, torch.bincount(known).double() / len(known))
    assert bool((selector.correctness.diff(dim=1) >= 0).all())
    for k, factor in ((0, 1.0), (2, 0.5)):
        expected = factor * selector.nodes[2:-2]
        torch.testing.assert_close(selector.correctness[k, 2:-2], expected, atol=0.06, rtol=0)
    trust = selector(logits)
    assert trust.weight[guess == 2].mean() < 0.2 * trust.weight[guess == 0].mean()
    twin = ConstrainedConvexSelector(3, band=1.0)
    twin.load_state_dict(selector.state_dict())
    torch.testing.assert_close(twin(logits).weight, trust.weight)


def test_small_classes_lean_on_the_pooled_estimate() -> None:
    generator = torch.Generator().manual_seed(0)
    reliability = torch.rand(1000, generator=generator, dtype=torch.float64)
    label = torch.zeros(1000, dtype=torch.int64)
    label[0] = 1
    _, table = correctness_table(reliability, label, torch.rand(1000, generator=generator) < reliability, 3, 5)
    torch.testing.assert_close(table[1], table[2], atol=0.06, rtol=0)


def rare_at_least_as_common(program: SelectionProgram) -> Sequence[Any]:
    return [program.class_mass[4] >= program.class_mass[0]]


def test_a_constraint_of_ones_own_is_kept() -> None:
    logits = random_logits((2, 5, 20, 20)) + torch.tensor([2.0, 0, 0, 0, 0]).view(1, 5, 1, 1)
    free = ConstrainedConvexSelector(5, price=0.3)(logits)
    bound = ConstrainedConvexSelector(5, price=0.3, constraints=rare_at_least_as_common)(logits)
    shares = [class_shares(chosen.label, chosen.weight, 5) for chosen in (free, bound)]
    assert shares[0][0] > 1.5 * shares[0][4]
    assert shares[1][0] <= shares[1][4] + TOLERANCE


def more_than_everything(program: SelectionProgram) -> Sequence[Any]:
    return [program.coverage >= 2]


def test_a_program_without_a_solution_is_noticed() -> None:
    logits = random_logits((2, 5, 9, 9))
    chosen = ConstrainedConvexSelector(5, price=0.3, constraints=more_than_everything)(logits)
    assert chosen.diagnostics["solver_fallbacks"] == 1
    free = ConstrainedConvexSelector(5, price=0.3)(logits)
    torch.testing.assert_close(chosen.weight, free.weight, atol=2e-3, rtol=0)


def test_a_failure_of_the_solver_is_counted_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(build: Any, key: Any, parameters: Sequence[Tensor]) -> LayerSolution:
        return LayerSolution((torch.zeros(1, 5, 10, dtype=torch.float64),), torch.tensor([True]))

    logits = random_logits((2, 5, 10, 10))
    monkeypatch.setattr(constrained, "solve_layer", fail)
    chosen = ConstrainedConvexSelector(5, PRIOR, coverage=(0.0, 0.1), price=0.4, gamma=0.2)(logits)
    assert chosen.diagnostics["solver_fallbacks"] == 1
    assert chosen.coverage > 0.1


def test_wrong_choices_are_listed_together() -> None:
    with pytest.raises(InvalidInputError) as caught:
        ConstrainedConvexSelector(3, [0.5, 0.5], coverage=(0.6, 0.5), gamma=0.0)
    text = str(caught.value)
    assert "prior: got [0.5, 0.5], expected 3 shares" in text
    assert "coverage: got (0.6, 0.5)" in text
    assert "gamma: got 0.0, expected a number > 0" in text


def test_another_number_of_classes_is_named() -> None:
    with pytest.raises(InvalidInputError, match=r"logits: got 4 classes \(shape \(2, 4\)\), expected 5"):
        ConstrainedConvexSelector(5)(torch.zeros(2, 4))
