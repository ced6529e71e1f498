"""LearnedConvexSelector: its program against convex_partition, its learning against what it has to find."""

import copy
import math
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from residual_ssl.diagnostics import aurc
from residual_ssl.errors import InvalidInputError, NotFittedError, ResidualSSLError
from residual_ssl.selection import LearnedConvexSelector, convex_partition
from residual_ssl.selection.convex import learned_metric
from residual_ssl.selection.convex.learned_metric import affinity, correctness_loss, learn_metric, partition_form
from residual_ssl.selection.features import prediction_features
from residual_ssl.testing import SHAPES, SelectorContract, assert_same, random_logits


def drawn_labels(logits: Tensor, seed: int = 0) -> Tensor:
    """Labels that the logits predict with exactly their probabilities."""
    generator = torch.Generator().manual_seed(seed)
    probability = logits.double().softmax(1).movedim(1, -1)
    return probability.flatten(0, -2).multinomial(1, generator=generator).view(probability.shape[:-1])


@cache
def fitted(classes: int, window: int) -> LearnedConvexSelector:
    logits = random_logits((6, classes, 14, 12), seed=11)
    return LearnedConvexSelector(window=window, trust=0.7).fit(logits, drawn_labels(logits))


class TestPointwise(SelectorContract):
    def make(self) -> LearnedConvexSelector:
        return copy.deepcopy(fitted(5, 1))

    def test_two_classes(self) -> None:
        chosen = fitted(2, 1)(random_logits((2, 2, 8, 8)))
        assert bool((chosen.residual == 0).all())
        assert 0 < chosen.coverage < 1


class TestWindowed(SelectorContract):
    def make(self) -> LearnedConvexSelector:
        return copy.deepcopy(fitted(5, 3))

    def test_two_classes(self) -> None:
        chosen = fitted(2, 3)(random_logits((2, 2, 8, 8)))
        assert bool((chosen.residual == 0).all())
        assert 0 < chosen.coverage < 1

    def test_a_permutation_of_the_points_permutes_the_result(self) -> None:
        # Neighbours stay neighbours in a mirror image, and in no other order.
        logits = random_logits((2, 5, 9, 8))
        mirrored = self.make()(logits.flip(-1))
        assert_same(mirrored, self.make()(logits).map(lambda points: points.flip(-1)), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("d", [2, 3, 4])
@pytest.mark.parametrize("gamma", [0.1, 3.0])
def test_the_affinity_is_that_of_the_convex_partition(d: int, gamma: float) -> None:
    points = torch.randn(40, d, generator=torch.Generator().manual_seed(d), dtype=torch.float64)
    gram = points.mT @ points / 40
    form = partition_form(gram, gamma=gamma)
    own = affinity(points, torch.eye(d, dtype=torch.float64), form)
    columns = tuple(points.mT.unsqueeze(1))
    reference = convex_partition(
        columns, torch.ones(1, 40, dtype=torch.bool), gamma=gamma * gram.trace().item(), temperature=0.5
    )
    soft = torch.sigmoid(own / 0.5)
    # convex_partition turns the sides round so that the first feature is larger on the reliable one.
    turned = bool((reference.reliable[0] - soft).abs().max() > 1e-6)
    torch.testing.assert_close(reference.reliable[0], 1 - soft if turned else soft)
    torch.testing.assert_close(own.mean(), torch.zeros((), dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(partition_form(9 * gram, gamma=gamma) * 9, form)


def learning_problem(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Standardised features with a constant, and correctness that depends on a product of two of them."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1500, 4, generator=generator, dtype=torch.float64)
    x = (x - x.mean(0)) / x.std(0, correction=0)
    chance = (0.5 + x[:, 0] + 1.5 * x[:, 1] * x[:, 2]).sigmoid()
    correct = torch.rand(1500, generator=generator, dtype=torch.float64) < chance
    return torch.cat([x, torch.ones(1500, 1, dtype=torch.float64)], 1), correct


def learned(dimensions: int = 3, seed: int = 0) -> learned_metric.LearnedMetric:
    generator = torch.Generator().manual_seed(seed)
    return learn_metric(*learning_problem(), dimensions=dimensions, gamma=0.1, generator=generator)


def test_the_gradient_of_the_loss_passes_through_the_program() -> None:
    x, correct = learning_problem()
    x, target = x[:50], correct[:50].double()
    metric = torch.randn(3, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()
    calibration = torch.tensor([0.3, -0.2], dtype=torch.float64, requires_grad=True)

    def loss(m: Tensor, c: Tensor) -> Tensor:
        return correctness_loss(x, target, m, c, gamma=0.1)

    assert torch.autograd.gradcheck(loss, (metric, calibration))
    (through,) = torch.autograd.grad(loss(metric, calibration), metric)
    mapped = x @ metric.detach().mT
    fixed = partition_form(mapped.mT @ mapped / 50, gamma=0.1)
    logit = calibration[0].exp() * affinity(x, metric, fixed) + calibration[1]
    (beside,) = torch.autograd.grad(nn.functional.binary_cross_entropy_with_logits(logit, target), metric)
    assert (through - beside).norm() > 0.1 * through.norm()


def test_learning_starts_at_the_linear_discriminant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learned_metric, "_ITERATIONS", 0)
    x, correct = learning_problem()
    start = learned(dimensions=2)
    scatter = x[:, :-1].mT @ x[:, :-1] / len(x) + 1e-3 * torch.eye(4, dtype=torch.float64)
    right, wrong = x[correct, :-1].mean(0), x[~correct, :-1].mean(0)
    discriminant = x[:, :-1] @ torch.linalg.inv(scatter) @ (right - wrong)
    torch.testing.assert_close(
        affinity(x, start.metric, start.form), 2 * discriminant / discriminant.std(correction=0), atol=1e-9, rtol=1e-9
    )


def test_learning_moves_the_metric_to_a_lower_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    x, correct = learning_problem()
    end = learned()
    monkeypatch.setattr(learned_metric, "_ITERATIONS", 0)
    start = learned()

    def cross_entropy(rule: learned_metric.LearnedMetric) -> float:
        logit = (affinity(x, rule.metric, rule.form) - rule.threshold) / rule.temperature
        return nn.functional.binary_cross_entropy_with_logits(logit, correct.double()).item()

    assert (end.metric - start.metric).norm() > 0.1
    assert cross_entropy(end) < 0.9 * cross_entropy(start)


def misleading(seed: int, shape: tuple[int, ...] = (4000,)) -> tuple[Tensor, Tensor]:
    """Predictions of four classes, right as often as they claim, but those of class 2: right three times in ten."""
    logits = random_logits((shape[0], 4, *shape[1:]), seed=seed)
    generator = torch.Generator().manual_seed(1000 + seed)
    confidence, _, label = prediction_features(logits)
    chance = torch.where(label == 2, 0.3, confidence)
    correct = torch.rand(label.shape, generator=generator, dtype=torch.float64) < chance
    return logits, torch.where(correct, label, (label + 1) % 4)


def test_where_confidence_misleads_the_learned_score_ranks_unseen_points_better() -> None:
    selector = LearnedConvexSelector().fit(*misleading(0))
    logits, labels = misleading(1)
    correct = logits.argmax(1) == labels
    plain, learnt = aurc(logits.softmax(1).amax(1), correct), aurc(selector.score(logits), correct)
    best = aurc(torch.where(logits.argmax(1) == 2, 0.3, logits.softmax(1).amax(1)), correct)
    assert learnt < plain - 0.8 * (plain - best)


def test_weights_are_probabilities_of_being_right() -> None:
    selector = LearnedConvexSelector(trust=1.0).fit(*misleading(0))
    logits, labels = misleading(1)
    weight, correct = selector(logits).weight, (logits.argmax(1) == labels).double()
    for low in (0.2, 0.4, 0.6, 0.8):
        among = (weight >= low) & (weight < low + 0.2)
        assert among.sum() > 100
        torch.testing.assert_close(weight[among].mean(), correct[among].mean(), atol=0.06, rtol=0)


def test_weight_and_trust_follow_the_score() -> None:
    selector = fitted(5, 3)
    logits = random_logits((2, 5, 9, 8))
    chosen, probability = selector(logits), selector.score(logits).sigmoid()
    torch.testing.assert_close(chosen.weight, (probability / 0.7).clamp(max=1))
    assert torch.equal(chosen.trusted, probability >= 0.7)
    assert 0 < chosen.trusted.double().mean() < 1
    valid = torch.zeros(2, 9, 8, dtype=torch.bool)
    assert bool((selector.score(logits, valid) == -torch.inf).all())


def test_local_agreement_is_used_where_it_tells_right_from_wrong() -> None:
    def speckled(seed: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        truth = (torch.arange(24) // 12).expand(8, 20, 24)
        wrong = torch.rand(8, 20, 24, generator=generator) < 0.15
        seen = torch.where(wrong, 1 - truth, truth)
        return 2.0 * nn.functional.one_hot(seen, 3).movedim(-1, 1).double(), truth

    logits, truth = speckled(1)
    correct = logits.argmax(1) == truth
    with_neighbours = aurc(LearnedConvexSelector().fit(*speckled(0)).score(logits), correct)
    alone = aurc(LearnedConvexSelector(window=1).fit(*speckled(0)).score(logits), correct)
    torch.testing.assert_close(alone, 1 - correct.double().mean(), atol=0.02, rtol=0)
    assert with_neighbours < 0.3 * alone


def test_a_second_prediction_helps_where_it_knows_more() -> None:
    def twice(seed: int) -> tuple[Tensor, Tensor, Tensor]:
        logits, labels = misleading(seed)
        return logits, labels, logits + 3 * nn.functional.one_hot(labels, 4)

    (known, known_labels, known_second), (logits, labels, second) = twice(0), twice(1)
    correct = logits.argmax(1) == labels
    both = LearnedConvexSelector().fit(known, known_labels, second=known_second)
    one = LearnedConvexSelector().fit(known, known_labels)
    assert aurc(both.score(logits, second=second), correct) < 0.7 * aurc(one.score(logits), correct)
    assert torch.equal(both(logits, second=second).label, logits.argmax(1))
    with pytest.raises(InvalidInputError, match="second: got None, expected logits"):
        both(logits)
    with pytest.raises(InvalidInputError, match="second: got logits, expected None"):
        one(logits, second=second)


def test_the_seed_decides_and_the_global_generator_is_left_alone() -> None:
    logits, labels = misleading(0)
    states = []
    for seed in (3, 3, 4):
        torch.manual_seed(len(states))
        before = torch.get_rng_state()
        states.append(LearnedConvexSelector(max_points=500, seed=seed).fit(logits, labels).state_dict())
        assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["metric"], states[2]["metric"])
    assert not torch.equal(states[0]["center"], states[2]["center"])


def test_fitting_again_forgets() -> None:
    selector = LearnedConvexSelector().fit(*misleading(0))
    once = LearnedConvexSelector().fit(*misleading(1))
    selector.fit(*misleading(1))
    assert all(
        torch.equal(a, b) for a, b in zip(selector.state_dict().values(), once.state_dict().values(), strict=True)
    )


def test_points_without_a_label_have_no_influence() -> None:
    logits, labels = misleading(0, (40, 100))
    ignored = torch.rand(40, 100, generator=torch.Generator().manual_seed(5)) < 0.3
    labels[ignored] = -1
    changed = torch.where(ignored.unsqueeze(1), 9 * random_logits((40, 4, 100), seed=6), logits)
    first, second = (LearnedConvexSelector(window=1).fit(x, labels, ignore_index=-1) for x in (logits, changed))
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    third = LearnedConvexSelector(window=1).fit(logits, torch.where(ignored, 0, labels), ~ignored)
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), third.state_dict().values(), strict=True))


def test_the_draw_is_of_all_labelled_points_in_parts_or_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels = misleading(0, (40, 100))
    whole = LearnedConvexSelector(max_points=10_000).fit(logits, labels)
    monkeypatch.setattr("residual_ssl.selection.points.known_points._POINTS_AT_ONCE", 700)
    parts = LearnedConvexSelector(max_points=10_000).fit(logits, labels)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[name], value, msg=name, rtol=1e-3, atol=1e-3)


def test_use_before_fit_is_refused() -> None:
    selector = LearnedConvexSelector()
    assert not selector.fitted
    for use in (selector.forward, selector.score):
        with pytest.raises(NotFittedError, match="used before fit; call fit"):
            use(random_logits((2, 5)))
    assert issubclass(NotFittedError, ResidualSSLError)
    assert issubclass(NotFittedError, RuntimeError)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_saved_state_makes_a_fresh_selector_the_same(shape: tuple[int, ...], tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 2), fitted(5, 3))
    torch.save(model.state_dict(), tmp_path / "state.pt")
    fresh = nn.Sequential(nn.Linear(2, 2), LearnedConvexSelector(window=3, trust=0.7))
    fresh.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    logits = random_logits(shape)
    assert_same(fresh[1](logits), fitted(5, 3)(logits))
    empty = copy.deepcopy(fitted(5, 3))
    empty.load_state_dict(LearnedConvexSelector().state_dict())
    assert not empty.fitted


def test_other_classes_than_fitted_are_named() -> None:
    with pytest.raises(InvalidInputError, match=r"logits: got 7 classes .* expected the 5 classes"):
        fitted(5, 3)(random_logits((2, 7)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": torch.zeros(3, 4, dtype=torch.int64)}, r"labels: got torch.int64 of shape \(3, 4\), .* \(8, 6\)"),
        ({"labels": torch.zeros(8, 6)}, r"labels: got torch.float32"),
        ({"labels": torch.full((8, 6), 3)}, r"labels: got class id 3, expected ids in \[0, 3\)"),
        ({"labels": torch.full((8, 6), -1)}, r"labels: got class id -1"),
        ({"labels": torch.full((8, 6), 255)}, r"labels: got 0 right predictions of 0 points"),
        ({"labels": torch.zeros(8, 6, dtype=torch.int64)}, r"labels: got 48 right predictions of 48 points"),
        ({"labels": torch.ones(8, 6, dtype=torch.int64)}, r"labels: got 0 right predictions of 48 points"),
        ({"valid": torch.ones(9, 6, dtype=torch.bool)}, r"valid: got torch.bool of shape \(9, 6\)"),
        ({"valid": torch.ones(8, 5, dtype=torch.bool)}, r"valid: got torch.bool of shape \(8, 5\)"),
        ({"second": torch.zeros(8, 4, 6)}, r"second: got torch.float32 of shape \(8, 4, 6\)"),
        ({"logits": torch.zeros(8, 1, 6)}, r"logits: got shape \(8, 1, 6\)"),
    ],
)
def test_wrong_arguments_of_fit_are_named(change: dict[str, Tensor], message: str) -> None:
    logits = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1).expand(8, 3, 6)
    labels = torch.tensor([0, 1, 2] * 16).view(8, 6)
    with pytest.raises(InvalidInputError, match=message):
        LearnedConvexSelector().fit(**{"logits": logits, "labels": labels, **change})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("dimensions", 1),
        ("gamma", 0.0),
        ("gamma", math.nan),
        ("window", 2),
        ("trust", 0.0),
        ("trust", 1.1),
        ("max_points", 1),
    ],
)
def test_an_option_outside_its_range_is_named(option: str, value: float) -> None:
    with pytest.raises(InvalidInputError, match=f"{option}: got {value}, expected"):
        LearnedConvexSelector(**{option: value})  # type: ignore[arg-type]
