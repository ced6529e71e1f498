"""Selectors that judge by features: their formulas written out, classes that are found, and their contracts."""

import copy
import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny_runs import tiny_digits
from scipy.stats import invwishart, multivariate_normal
from sklearn.datasets import load_digits

from residual_ssl import FixedThreshold, compose, train
from residual_ssl.errors import InvalidInputError, NotFittedError
from residual_ssl.selection import CategoryDiscovery, PrototypeCleaner, Selector, TrustAll, WADWeight
from residual_ssl.selection.prototypes.mixture import NormalInverseWishart, log_split_ratio
from residual_ssl.testing import SelectorContract, random_logits


def fitted(selector: Selector, classes: int = 5) -> Selector:
    """On log-probabilities as features, which the contract gives."""
    known = random_logits((2, classes, 7, 5), seed=4).log_softmax(1)
    pool = random_logits((6, classes, 7, 5), seed=3).log_softmax(1)
    return selector.fit_pool(known, known.argmax(1), pool, classes)


@cache
def discovery(classes: int) -> CategoryDiscovery:
    selector = fitted(CategoryDiscovery(start=2), classes)
    assert isinstance(selector, CategoryDiscovery)
    return selector


class TestWAD(SelectorContract):
    own_label = False
    tolerance = 1e-5

    def make(self) -> Selector:
        return fitted(WADWeight())

    def test_two_classes(self) -> None:
        logits = random_logits((2, 2, 8, 8))
        chosen = fitted(WADWeight(), 2)(logits, features=logits.log_softmax(1))
        assert (chosen.label == logits.argmax(1)).float().mean() > 0.9


class TestCleaner(SelectorContract):
    per_sample = False
    tolerance = 1e-5

    def make(self) -> Selector:
        return fitted(PrototypeCleaner(FixedThreshold(0.4)))

    def test_two_classes(self) -> None:
        logits = random_logits((2, 2, 8, 8))
        chosen = fitted(PrototypeCleaner(TrustAll()), 2)(logits, features=logits.log_softmax(1))
        assert 0.5 < chosen.coverage <= 1


class TestCategoryDiscovery(SelectorContract):
    own_label = False
    tolerance = 1e-5

    def make(self) -> Selector:
        return copy.deepcopy(discovery(5))

    def test_two_classes(self) -> None:
        logits = random_logits((2, 2, 8, 8))
        chosen = copy.deepcopy(discovery(2))(logits, features=logits.log_softmax(1))
        assert (chosen.label == logits.argmax(1)).float().mean() > 0.8


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


def test_wad_weighs_by_the_margin_between_the_nearest_labelled_points_of_two_classes() -> None:
    known, x = torch.randn(9, 4), torch.randn(7, 4)
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0, 255, 1])
    chosen = WADWeight(0.5).fit_pool(known, labels, known, 3)(torch.zeros(7, 3), features=x)
    for i, row in enumerate(x.tolist()):
        s = [max(cosine(row, known[j].tolist()) for j in range(9) if labels[j] == k) for k in range(3)]
        first, second, _ = sorted(s, reverse=True)
        assert chosen.label[i] == s.index(first)
        assert chosen.weight[i].item() == pytest.approx(min(first - second, 1), abs=1e-5)
        total = sum(math.exp(v / 0.5) for v in s)
        assert chosen.target is not None
        assert chosen.target[i].tolist() == pytest.approx([math.exp(v / 0.5) / total for v in s], abs=1e-5)


def test_the_cleaner_has_a_limit_for_each_class_and_its_prototypes_follow_what_is_kept() -> None:
    generator = torch.Generator().manual_seed(0)
    centres = torch.tensor([[4.0, 0.0, 0.0], [0.0, 4.0, 0.0]])
    wide = torch.tensor([0.2, 1.5])
    labels = torch.arange(60) % 2
    known = centres[labels] + wide[labels].unsqueeze(1) * torch.randn(60, 3, generator=generator)
    selector = PrototypeCleaner(TrustAll(), deviations=1.0, momentum=0.5).fit_pool(known, labels, known[:0], 2)
    centre = known.mean(0)
    unit = torch.nn.functional.normalize(known - centre)
    prototypes = torch.stack([torch.nn.functional.normalize(unit[labels == k].mean(0), dim=0) for k in (0, 1)])
    near = [(unit[labels == k] @ prototypes[k]) for k in (0, 1)]
    limits = [s.mean() - (s.var(unbiased=False) + 1e-6).sqrt() for s in near]
    assert limits[0] > limits[1] + 0.02  # the narrow class is judged more strictly
    logits = torch.nn.functional.one_hot(labels, 2) * 4.0
    kept = selector(logits, features=known)
    expected = torch.tensor([bool(unit[i] @ prototypes[k] >= limits[k]) for i, k in enumerate(labels.tolist())])
    assert kept.weight.bool().tolist() == expected.tolist()
    assert 0.6 < expected.float().mean() < 0.99
    for k in (0, 1):
        place = unit[(labels == k) & expected].mean(0)
        moved = torch.nn.functional.normalize((prototypes[k] + place) / 2, dim=0)
        torch.testing.assert_close(selector.prototypes[k], moved, atol=1e-5, rtol=1e-4)


def test_the_evidence_of_a_cluster_is_its_marginal_likelihood() -> None:
    """``p(X) = p(X | μ, Σ) p(μ, Σ) / p(μ, Σ | X)`` at any μ and Σ, by scipy's densities."""
    rng = np.random.default_rng(0)
    width, kappa, freedom = 3, 0.7, 6.0
    psi = np.diag([1.0, 2.0, 0.5])
    prior = NormalInverseWishart(torch.zeros(width, dtype=torch.float64), torch.tensor(psi), kappa, freedom)
    points = torch.tensor(rng.normal(size=(8, width)) + 1)
    after = prior.after(points)
    for _ in range(3):
        mean, sigma = rng.normal(size=width), invwishart.rvs(5, np.eye(width), random_state=rng)

        def density(p: NormalInverseWishart, mean: np.ndarray = mean, sigma: np.ndarray = sigma) -> float:
            return float(
                invwishart.logpdf(sigma, p.freedom, p.scale.numpy())
                + multivariate_normal.logpdf(mean, p.mean.numpy(), sigma / p.strength)
            )

        likelihood = multivariate_normal.logpdf(points.numpy(), mean, sigma).sum()
        assert prior.log_evidence(points) == pytest.approx(likelihood + density(prior) - density(after))


def test_two_spots_are_split_and_one_is_not() -> None:
    generator = torch.Generator().manual_seed(1)
    spot = torch.randn(40, 2, generator=generator, dtype=torch.float64)
    other = torch.randn(40, 2, generator=generator, dtype=torch.float64)
    eye = torch.eye(2, dtype=torch.float64)
    prior = NormalInverseWishart(torch.zeros(2, dtype=torch.float64), eye, 0.01, 4.0)
    assert log_split_ratio(spot, other + 8, prior) > 0
    assert log_split_ratio(spot, other, prior) < 0


@pytest.mark.parametrize(("new", "start"), [(0, 4), (1, 0), (2, 3), (3, 6)])
def test_new_classes_are_counted_and_left_out(new: int, start: int) -> None:
    generator = torch.Generator().manual_seed(new)
    centres = 12 * torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])
    truth = torch.arange(300) % (2 + new)
    pool = centres[truth] + torch.randn(300, 3, generator=generator)
    labelled = centres[:2].repeat(5, 1) + torch.randn(10, 3, generator=generator)
    selector = CategoryDiscovery(start=start).fit_pool(labelled, torch.arange(10) % 2, pool, 2)
    if start == 0:
        assert selector.new_classes == 0
        return
    assert selector.new_classes == new
    chosen = selector(torch.zeros(300, 2), features=pool)
    assert torch.equal(chosen.weight, (truth < 2).float())
    assert torch.equal(chosen.label[truth < 2], truth[truth < 2])
    found = selector.categories(pool, torch.zeros(300, 2))
    for k in range(2, 2 + new):
        assert len(found[truth == k].unique()) == 1
        assert found[truth == k][0] >= 2


def test_digits_of_unknown_classes_are_found() -> None:
    digits = load_digits()
    x, y = torch.tensor(digits.data, dtype=torch.float32), torch.tensor(digits.target)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x, y = x[order], y[order]
    labelled = torch.cat([(y == k).nonzero()[:10].flatten() for k in range(6)])
    selector = CategoryDiscovery().fit_pool(x[labelled], y[labelled], x, 6)
    assert 3 <= selector.new_classes <= 12
    chosen = selector(torch.zeros(len(x), 6), features=x)
    known = y < 6
    kept = chosen.weight.bool()
    assert kept[known].float().mean() > kept[~known].float().mean() + 0.4


@pytest.mark.parametrize("selector", [WADWeight(), PrototypeCleaner(TrustAll()), CategoryDiscovery()], ids=repr)
def test_what_does_not_fit_is_named(selector: Selector) -> None:
    with pytest.raises(NotFittedError, match=r"used before fit_pool"):
        selector(torch.zeros(2, 3), features=torch.zeros(2, 4))
    with pytest.raises(InvalidInputError, match="got no labelled point"):
        selector.fit_pool(torch.randn(3, 4), torch.full((3,), 255), torch.randn(3, 4), 3)
    with pytest.raises(InvalidInputError, match="class ids from 0 to 7"):
        selector.fit_pool(torch.randn(3, 4), torch.tensor([0, 7, 1]), torch.randn(3, 4), 3)
    with pytest.raises(InvalidInputError, match="same dimension 1"):
        selector.fit_pool(torch.randn(3, 4), torch.tensor([0, 2, 1]), torch.randn(3, 5), 3)
    selector.fit_pool(torch.randn(9, 4), torch.arange(9) % 3, torch.randn(30, 4), 3)
    with pytest.raises(InvalidInputError, match=r"features: got shape \(2, 5\)"):
        selector(torch.zeros(2, 3), features=torch.zeros(2, 5))


@pytest.mark.parametrize("name", ["wad", "prototype_cleaner", "category_discovery"])
def test_rows_of_a_table_are_trained_with_it(tmp_path: Path, name: str) -> None:
    short = ["steps=2", "evaluate_every=2", "log_every=1", f"run_dir={tmp_path}", "device=cpu", "trackers=[]"]
    result = train(compose(["experiment=digit_rows", "algorithm=fixmatch", f"selector={name}", *short]))
    assert result.last["step"] == 2


def test_a_selector_by_features_tells_images_where_features_come_from(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="dataset=frozen_images"):
        train(tiny_digits(tmp_path, "algorithm=fixmatch", "selector=wad"))
