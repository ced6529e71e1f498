"""LabelPropagation: the convex program by a dense solver, what is left out, classes of unequal sizes, its contract."""

import copy
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from residual_ssl.errors import InvalidInputError, NotFittedError
from residual_ssl.selection import LabelPropagation
from residual_ssl.selection.graph.neighbours import nearest, spread
from residual_ssl.testing import SelectorContract, random_logits


@cache
def fitted(classes: int = 5) -> LabelPropagation:
    """On log-probabilities as features, which the contract gives."""
    pool = random_logits((6, classes, 7, 5), seed=3).log_softmax(1)
    known = random_logits((2, classes, 7, 5), seed=4).log_softmax(1)
    return LabelPropagation(neighbours=4).fit_pool(known, known.argmax(1), pool, classes)


class TestOnFeatures(SelectorContract):
    own_label = False

    def make(self) -> LabelPropagation:
        return copy.deepcopy(fitted())

    def test_two_classes(self) -> None:
        logits = random_logits((2, 2, 8, 8))
        chosen = copy.deepcopy(fitted(2))(logits, features=logits.log_softmax(1))
        assert (chosen.label == logits.argmax(1)).float().mean() > 0.9
        assert 0.5 < chosen.coverage <= 1


def clusters(sizes: list[int], seed: int = 0, spread: float = 0.15) -> tuple[Tensor, Tensor]:
    """Points around orthogonal directions of 16 dimensions, and the number of the direction of each."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    noise = torch.randn(len(label), 16, generator=generator)
    return 1 + F.one_hot(label, 16) + spread * noise, label


def test_labels_spread_to_the_optimum_of_the_program() -> None:
    generator = torch.Generator().manual_seed(1)
    x = F.normalize(torch.randn(40, 6, generator=generator, dtype=torch.float64))
    start = torch.zeros(40, 3, dtype=torch.float64)
    start[torch.arange(6), torch.arange(6) % 3] = 1
    alpha = 0.9

    cosines = x @ x.T
    cosines.fill_diagonal_(-2)
    graph = torch.zeros(40, 40, dtype=torch.float64)
    for i in range(40):
        for j in cosines[i].topk(5).indices:
            graph[i, j] = cosines[i, j].clamp(min=0) ** 3
    graph = graph + graph.T
    degree = graph.sum(1)

    q = start.clone().requires_grad_()
    between = (q[:, None] / degree.sqrt()[:, None, None] - q[None] / degree.sqrt()[None, :, None]).square().sum(-1)
    program = 0.5 * (graph * between).sum() + (1 / alpha - 1) * (q - start).square().sum()
    closed_form = torch.linalg.solve(
        torch.eye(40, dtype=torch.float64) - alpha * graph / (degree[:, None] * degree[None]).sqrt(),
        (1 - alpha) * start,
    )
    found = spread(start, x, neighbours=5, alpha=alpha)
    torch.testing.assert_close(found, closed_form, atol=1e-6, rtol=1e-4)
    # And there the program's own gradient vanishes.
    (at_start,) = torch.autograd.grad(program, q)
    q = found.clone().requires_grad_()
    between = (q[:, None] / degree.sqrt()[:, None, None] - q[None] / degree.sqrt()[None, :, None]).square().sum(-1)
    program = 0.5 * (graph * between).sum() + (1 / alpha - 1) * (q - start).square().sum()
    (at_optimum,) = torch.autograd.grad(program, q)
    assert at_optimum.norm() < 1e-4 * at_start.norm()


def test_neighbours_are_those_of_the_whole_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    x = F.normalize(torch.randn(50, 4, generator=torch.Generator().manual_seed(0)))
    whole = nearest(x, x, 3, itself=False)
    monkeypatch.setattr("residual_ssl.selection.graph.neighbours._PAIRS_AT_ONCE", 7 * 50)
    parts = nearest(x, x, 3, itself=False)
    torch.testing.assert_close(parts[0], whole[0])
    assert torch.equal(parts[1], whole[1])
    assert not (whole[1] == torch.arange(50)[:, None]).any()


def test_points_take_the_label_of_their_neighbourhood_and_not_the_predicted_one() -> None:
    pool, label = clusters([30, 30, 30])
    known, classes = clusters([1, 1, 1], seed=5)
    selector = LabelPropagation(neighbours=5, keep=1.0).fit_pool(known, classes, pool, 3)
    wrong = 9.0 * F.one_hot((label + 1) % 3, 3).float()
    chosen = selector(wrong, features=pool)
    assert (chosen.label == label).float().mean() > 0.98
    assert chosen.coverage == 1


def test_what_no_label_reaches_is_left_out() -> None:
    pool, label = clusters([40, 40, 40])  # the third is of no known class
    known, classes = clusters([2, 2], seed=5)
    selector = LabelPropagation(neighbours=5, keep=0.66).fit_pool(known, classes, pool, 2)
    trusted = selector(torch.zeros(120, 2), features=pool).trusted
    assert trusted[label < 2].float().mean() > 0.95
    assert trusted[label == 2].float().mean() < 0.1


def test_a_class_with_many_labels_does_not_flood_the_pool() -> None:
    pool, label = clusters([40, 40], spread=0.5)
    known, classes = clusters([30, 2], seed=5, spread=0.5)
    selector = LabelPropagation(neighbours=8, keep=1.0).fit_pool(known, classes, pool, 2)
    right = selector(torch.zeros(80, 2), features=pool).label == label
    assert right[label == 1].float().mean() > 0.75


def test_a_pixel_is_a_point() -> None:
    points, label = clusters([20, 20])
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    maps = points[order].T.reshape(1, 16, 5, 8)
    target = label[order].reshape(1, 5, 8)
    few = torch.full_like(target, 255)
    few[0, :2] = target[0, :2]
    selector = LabelPropagation(neighbours=5, keep=1.0).fit_pool(maps, few, maps, 2)
    assert torch.equal(selector(torch.zeros(1, 2, 5, 8), features=maps).label, target)


def test_a_larger_pool_than_the_graph_holds_is_sampled_and_the_rest_asks_its_neighbours() -> None:
    pool, label = clusters([300, 300])
    known, classes = clusters([1, 1], seed=5)
    selector = LabelPropagation(neighbours=5, keep=1.0, max_points=100).fit_pool(known, classes, pool, 2)
    assert len(selector.nodes) == 102
    assert (selector(torch.zeros(600, 2), features=pool).label == label).all()


def test_fitting_leaves_the_random_numbers_of_a_run_alone_and_gives_the_same_every_time() -> None:
    pool, _ = clusters([20, 20])
    known, classes = clusters([1, 1], seed=5)
    torch.manual_seed(0)
    first = LabelPropagation().fit_pool(known, classes, pool, 2)
    drawn = torch.rand(1)
    second = LabelPropagation().fit_pool(known, classes, pool, 2)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(1))
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())


def test_faults_are_named() -> None:
    pool, _ = clusters([5, 5])
    with pytest.raises(NotFittedError, match="used before fit_pool; give it features of the labelled samples"):
        LabelPropagation()(torch.zeros(10, 2), features=pool)
    with pytest.raises(InvalidInputError, match="labels: got no labelled point"):
        LabelPropagation().fit_pool(pool, torch.full((10,), 255), pool, 2)
    with pytest.raises(InvalidInputError, match=r"labels: got class ids from 0 to 2, expected ids in \[0, 2\)"):
        LabelPropagation().fit_pool(pool[:3], torch.tensor([0, 1, 2]), pool, 2)
    with pytest.raises(InvalidInputError, match=r"pool: got \(10, 3\) beside features \(2, 16\)"):
        LabelPropagation().fit_pool(pool[:2], torch.tensor([0, 1]), pool[:, :3], 2)
    with pytest.raises(InvalidInputError, match="features, pool: got values that are not finite"):
        LabelPropagation().fit_pool(pool[:2], torch.tensor([0, 1]), pool.where(pool > 1, torch.nan), 2)
    selector = LabelPropagation().fit_pool(pool[:2], torch.tensor([0, 1]), pool, 2)
    with pytest.raises(InvalidInputError, match=r"features: got shape \(10, 3\) .* expected features \(10, 16\)"):
        selector(torch.zeros(10, 2), features=pool[:, :3])
    with pytest.raises(InvalidInputError, match=r"keep: got 0\.0"):
        LabelPropagation(keep=0.0)


def test_a_pool_just_above_the_limit_loses_what_is_above_it() -> None:
    pool, _ = clusters([51, 50])
    known, classes = clusters([1, 1], seed=5)
    selector = LabelPropagation(max_points=100).fit_pool(known, classes, pool, 2)
    assert len(selector.nodes) == 102
