"""PooledPropagation: the optimum of its program, two opinions that correct each other, its contract."""

import copy
from functools import cache

import pytest
import torch
import torch.nn.functional as F

from residual_ssl import ConvexSelector, FixedThreshold
from residual_ssl.errors import InvalidInputError, NotFittedError
from residual_ssl.selection import (
    DistributionAlignment,
    LabelPropagation,
    OracleSelector,
    PooledPropagation,
    Selector,
    TrustAll,
)
from residual_ssl.testing import SelectorContract, random_logits


@cache
def graph(classes: int = 5) -> LabelPropagation:
    """On log-probabilities as features, which the contract gives."""
    pool = random_logits((6, classes, 7, 5), seed=3).log_softmax(1)
    known = random_logits((2, classes, 7, 5), seed=4).log_softmax(1)
    return LabelPropagation(neighbours=4).fit_pool(known, known.argmax(1), pool, classes)


class TestWithThreshold(SelectorContract):
    own_label = False
    tolerance = 1e-6  # the graph is asked in single precision

    def make(self) -> PooledPropagation:
        return PooledPropagation(FixedThreshold(0.4), copy.deepcopy(graph()))

    def test_two_classes(self) -> None:
        logits = random_logits((2, 2, 8, 8))
        chosen = PooledPropagation(TrustAll(), copy.deepcopy(graph(2)))(logits, features=logits.log_softmax(1))
        assert (chosen.label == logits.argmax(1)).float().mean() > 0.9


def test_the_pooled_prediction_is_the_optimum_of_the_program() -> None:
    logits = random_logits((1, 5, 3, 2), seed=8)
    features = logits.log_softmax(1).roll(1, 0)
    told = graph().propagated_at(features, logits).double()
    z, p = told / told.sum(1, keepdim=True), logits.double().softmax(1)
    for share in (0.0, 0.3, 1.0):
        q = torch.zeros_like(p, requires_grad=True)
        optimiser = torch.optim.LBFGS([q], max_iter=300, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

        def program(q: torch.Tensor = q, share: float = share, by: torch.optim.Optimizer = optimiser) -> torch.Tensor:
            by.zero_grad()
            log = q.log_softmax(1)
            value = (log.exp() * (log - (1 - share) * p.log() - share * z.log())).sum()
            value.backward()
            return value

        optimiser.step(program)  # type: ignore[arg-type]
        expected = q.detach().softmax(1)
        chosen = PooledPropagation(TrustAll(), graph(), share)(logits, features=features)
        torch.testing.assert_close(chosen.confidence.double(), expected.amax(1), atol=1e-4, rtol=1e-4)
        assert torch.equal(chosen.label, expected.argmax(1))


def test_shares_of_0_and_1_leave_one_of_the_two_opinions() -> None:
    logits, features = random_logits((2, 5, 6, 4), seed=1), random_logits((2, 5, 6, 4), seed=2).log_softmax(1)
    own = PooledPropagation(ConvexSelector(), graph(), 0.0)(logits, features=features)
    plain = ConvexSelector()(logits.float())
    assert torch.equal(own.label, plain.label)
    torch.testing.assert_close(own.weight.float(), plain.weight, atol=1e-4, rtol=1e-4)
    told = PooledPropagation(TrustAll(), graph(), 1.0)(logits, features=features)
    assert torch.equal(told.label, graph().propagated_at(features, logits).argmax(1))


def test_what_is_told_is_the_mean_of_nodes_by_cosine_after_each_class_has_one_total() -> None:
    selector = graph()
    features = random_logits((2, 5, 9), seed=6).log_softmax(1)
    told = selector.propagated_at(features, torch.zeros(2, 5, 9))
    assert told.shape == (2, 5, 9)
    scaled = selector.propagated / selector.propagated.sum(0) * len(selector.nodes)
    torch.testing.assert_close(scaled.mean(0), torch.ones(5))
    for sample, point in ((0, 0), (1, 8)):
        x = (features[sample, :, point].float() - selector.center) @ selector.axes
        weight = (40 * (selector.nodes @ (x / x.norm()))).softmax(0)
        torch.testing.assert_close(told[sample, :, point], weight @ scaled, rtol=1e-4, atol=1e-4)


def test_a_point_far_from_every_label_is_left_to_the_network() -> None:
    directions = F.one_hot(torch.arange(4), 8).float()
    known, pool = directions[:2].repeat_interleave(3, 0), directions.repeat_interleave(5, 0)
    generator = torch.Generator().manual_seed(0)
    known, pool = (x + 0.05 * torch.randn(x.shape, generator=generator) for x in (known, pool))
    selector = PooledPropagation(TrustAll(), LabelPropagation(neighbours=3))
    selector.fit_pool(known, torch.tensor([0, 0, 0, 1, 1, 1]), pool, 2)
    logits = torch.tensor([[1.0, 0.0]]).repeat(20, 1)
    chosen = selector(logits, features=pool)
    of_label = [chosen.label[i : i + 5].float().mean().item() for i in (0, 5, 10)]
    assert of_label == [0.0, 1.0, 0.0]
    assert chosen.confidence[10:].max() < chosen.confidence[:5].min()


def test_a_rule_gets_the_evidence_and_the_labels_that_it_asks_for() -> None:
    logits, features = random_logits((2, 5, 6), seed=1), random_logits((2, 5, 6), seed=2).log_softmax(1)
    oracle = PooledPropagation(OracleSelector(), graph())
    assert oracle.needs.evidence == ("features", "truth")
    assert oracle.needs.pool
    truth = PooledPropagation(TrustAll(), graph())(logits, features=features).label
    assert oracle(logits, features=features, truth=truth).coverage == 1
    aligned: Selector = PooledPropagation(DistributionAlignment(TrustAll(), momentum=0.0), graph())
    assert aligned.needs.labels
    aligned.update_from_labels(logits, truth)
    assert aligned.rule.wanted.sum() == pytest.approx(1)  # type: ignore[union-attr, operator]


def test_faults_are_named() -> None:
    with pytest.raises(NotFittedError, match="used before fit_pool"):
        PooledPropagation(TrustAll(), LabelPropagation())(torch.zeros(2, 5), features=torch.zeros(2, 5))
    with pytest.raises(InvalidInputError, match=r"share: got 1\.5"):
        PooledPropagation(TrustAll(), LabelPropagation(), 1.5)
    with pytest.raises(InvalidInputError, match=r"features: got shape \(2, 4\)"):
        PooledPropagation(TrustAll(), graph())(torch.zeros(2, 5), features=torch.zeros(2, 4))
