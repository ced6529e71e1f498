"""ReliableRegions: evidence and correlation by definition, the split by trying all, strangers left out."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from residual_ssl import ConvexSelector, FixedThreshold
from residual_ssl.errors import InvalidInputError
from residual_ssl.selection import AdaMatchThreshold, AgreementThreshold, ReliableRegions, TrustAll
from residual_ssl.selection.convex.reliable_regions import best_split, image_evidence, mean_around
from residual_ssl.testing import SelectorContract, assert_same, labels_for, random_logits


class RegionsContract(SelectorContract):
    per_sample = False

    def test_a_permutation_of_the_points_permutes_the_result(self) -> None:
        # Neighbours stay neighbours in a mirror image, and in no other order.
        logits = random_logits((2, 5, 9, 8))
        mirrored = self._judge(logits.flip(-1))
        plain = self._judge(logits).map(lambda points: points.flip(-1))
        assert_same(mirrored, plain, atol=1e-9, rtol=1e-9)


class TestOfNoSelection(RegionsContract):
    def make(self) -> ReliableRegions:
        return ReliableRegions(TrustAll(), window=300)


class TestOfConfidenceSeparableLearning(RegionsContract):
    def make(self) -> ReliableRegions:
        return ReliableRegions(ConvexSelector(), background=1, reach=3)


class TestOfASecondPrediction(RegionsContract):
    def make(self) -> ReliableRegions:
        return ReliableRegions(AgreementThreshold(0.3))


def entropy(p: Tensor) -> float:
    return float(-(p * p.log()).sum())


def evidence_by_definition(p: Tensor, foreground: Tensor, valid: Tensor, reach: int) -> np.ndarray:
    """I, C and l of every foreground point of an image of probabilities ``(K, H, W)``, in the order of the points."""
    places = [place for place in itertools.product(*map(range, foreground.shape)) if foreground[place]]
    inside = [p[(slice(None), *place)] for place in places]
    outside = p.amax(0)[valid & ~foreground]
    information = entropy(torch.stack(inside).mean(0)) - sum(map(entropy, inside)) / len(inside)
    odds = {
        place: math.log(float(own.max()) / (1 - float(own.max()))) for place, own in zip(places, inside, strict=True)
    }
    rows = []
    for place in places:
        near = [
            value
            for other, value in odds.items()
            if max(abs(a - b) for a, b in zip(place, other, strict=True)) <= reach // 2
        ]
        rows.append((information, float(outside.mean()), sum(near) / len(near)))
    return np.array(rows)


def split_by_trial(scores: np.ndarray) -> float:
    ordered = np.sort(scores)
    within = [ordered[:k].var() * k + ordered[k:].var() * (len(scores) - k) for k in range(1, len(scores))]
    best = int(np.argmin(within)) + 1
    return float(ordered[best - 1] + ordered[best]) / 2


@pytest.mark.parametrize("labels", [[], [0, 0, 1, 1, 1, 2, 3, 3, 3, 3]])
def test_the_foreground_on_the_worse_side_of_the_window_is_left_out(labels: list[int]) -> None:
    rule = ReliableRegions(FixedThreshold(0.5), background=1, window=200, reach=3)
    for part in (labels[:4], labels[4:]):
        rule.update_from_labels(torch.zeros(1, 4, len(part) + 1), torch.tensor([[*part, 255]]))
    wanted = {k: labels.count(k) / (sum(label != 1 for label in labels) or 1) for k in (0, 2, 3)}
    seen, classes = np.zeros((0, 3)), np.zeros(0, dtype=int)
    left_out = unlikely_but_better = opposed = 0
    for step in range(3):
        logits = random_logits((4, 4, 7, 6), seed=step) * torch.linspace(0.2, 0.9, 4)[:, None, None, None]
        logits[:, 3] *= 1.5  # surer, and more frequent than in the labels
        valid = torch.rand(4, 7, 6, generator=torch.Generator().manual_seed(step)) < 0.8
        weight = rule(logits, valid).weight
        p = logits.double().softmax(1)
        foreground = valid & (p.argmax(1) != 1)
        own = [evidence_by_definition(p[b], foreground[b], valid[b], 3) for b in range(4)]
        label = [p[b].argmax(0)[foreground[b]].numpy() for b in range(4)]
        seen, classes = np.concatenate([seen, *own])[-200:], np.concatenate([classes, *label])[-200:]
        window, ratios = seen, {k: math.log((wanted[k] + 1 / 200) / (np.mean(classes == k) + 1 / 200)) for k in wanted}
        if labels:
            own = [np.column_stack([rows, [ratios[k] for k in of]]) for rows, of in zip(own, label, strict=True)]
            window = np.column_stack([seen, [ratios[k] for k in classes]])
        mean, scale = window.mean(0), window.std(0)
        centred = (window - mean) / scale
        correlation = np.corrcoef(window.T)
        opposed += int((correlation < -0.1).any())
        direction = np.linalg.eigh(np.clip(correlation, 0, None))[1][:, -1]
        direction = direction * direction.sum()  # the sums of the projector's columns
        threshold = split_by_trial(centred @ direction)
        for b in range(4):
            better = ((own[b] - mean) / scale) @ direction >= threshold
            likely = own[b][:, 2] >= 0  # mean log-odds
            unlikely_but_better += int((better & ~likely).sum())
            expected = better & likely
            assert np.array_equal(weight[b][foreground[b]].numpy(), expected.astype(float))
            left_out += int((~expected).sum())
        assert torch.equal(weight[~foreground], (valid & (p.amax(1) >= 0.5))[~foreground].double())
    assert 50 < left_out < 250
    assert unlikely_but_better > 3
    assert opposed or not labels


def test_strangers_are_left_out_and_their_background_is_kept() -> None:
    generator = torch.Generator().manual_seed(0)
    strangers = torch.arange(40) % 2 == 0
    # Objects of classes 1 to 4 side by side; those of strangers look like a mixture, on an unclear ground.
    truth = torch.tensor([0, 0, 1, 2, 3, 4]).repeat_interleave(10).expand(40, -1)
    clear = 5 * torch.nn.functional.one_hot(truth, 5).mT.double()
    logits = torch.where(strangers[:, None, None], 0.4 * clear, clear)
    logits = logits + 0.3 * torch.randn(logits.shape, generator=generator, dtype=torch.float64)
    weight = ReliableRegions(TrustAll())(logits).weight
    foreground = logits.argmax(1) > 0
    assert not weight[strangers][foreground[strangers]].any()
    assert bool((weight[~strangers] == 1).all())
    assert bool((weight[~foreground] == 1).all())


def test_strangers_that_have_been_learned_are_left_out_by_the_shares_of_the_classes() -> None:
    generator = torch.Generator().manual_seed(0)
    strangers = torch.arange(40) % 2 == 0
    truth = torch.tensor([0, 0, 1, 2, 3, 4]).repeat_interleave(10).expand(40, -1)
    foreground, strange = truth > 0, strangers[:, None].expand_as(truth)
    # The network is surer of strangers, which it takes for class 4, and of their ground than of what it was taught.
    taken = torch.where(foreground & strange, 4, truth)
    ground = 3 + 0.5 * strangers + torch.rand(40, generator=generator, dtype=torch.float64)
    sureness = torch.where(foreground, torch.where(strange, 5.0, 4.0), ground[:, None])
    logits = torch.nn.functional.one_hot(taken, 5).mT * sureness[:, None]
    logits = logits + 0.3 * torch.randn(logits.shape, generator=generator, dtype=torch.float64)
    of_ground, labelled = ReliableRegions(TrustAll()), ReliableRegions(TrustAll())
    of_ground.update_from_labels(logits, torch.zeros_like(truth))  # says nothing of the other classes
    labelled.update_from_labels(logits, truth)
    assert bool((of_ground(logits).weight[foreground & strange] == 1).all())
    weight = labelled(logits).weight
    assert not weight[foreground & strange].any()
    assert bool((weight[foreground & ~strange] == 1).float().mean() > 0.7)


def test_a_mistake_within_an_image_is_left_out_by_its_region() -> None:
    logits = torch.zeros(1, 3, 60, dtype=torch.float64)
    logits[:, 0, :20] = 6.0
    logits[:, 1, 20:40] = 6.0
    logits[:, 2, 40:] = 1.0  # wavering, with one sure point in its midst
    logits[:, 2, 50] = 6.0
    weight = ReliableRegions(TrustAll(), reach=9)(logits).weight
    assert bool((weight[0, :38] == 1).all())
    assert not weight[0, 44:].any()


def test_the_mean_around_is_that_of_the_chosen_points_of_a_square() -> None:
    generator = torch.Generator().manual_seed(3)
    values = torch.randn(2, 6, 5, generator=generator)
    chosen = torch.rand(2, 6, 5, generator=generator) < 0.4
    found = mean_around(values, chosen, 3)
    for b, row, column in itertools.product(range(2), range(6), range(5)):
        square = (b, slice(max(row - 1, 0), row + 2), slice(max(column - 1, 0), column + 2))
        near = values[square][chosen[square]]
        assert float(found[b, row, column]) == pytest.approx(float(near.mean()) if len(near) else 0.0, abs=1e-6)


@pytest.mark.parametrize("size", [2, 3, 17])
def test_the_best_split_is_that_of_all_splits(size: int) -> None:
    scores = torch.randn(size + 4, generator=torch.Generator().manual_seed(size), dtype=torch.float64)
    filled = torch.arange(size + 4) % (size + 4) >= 4
    assert float(best_split(scores, filled)) == pytest.approx(split_by_trial(scores[filled].numpy()))


@pytest.mark.parametrize("scores", [[0.3], [0.3, 0.3, 0.3]])
def test_scores_that_are_alike_are_not_split(scores: list[float]) -> None:
    assert best_split(torch.tensor(scores), torch.ones(len(scores), dtype=torch.bool)) == -torch.inf


def test_an_image_that_is_all_background_and_one_without_any_have_evidence() -> None:
    log_p = random_logits((2, 3, 5)).log_softmax(1)
    valid = torch.ones(2, 5, dtype=torch.bool)
    foreground = torch.tensor([[False] * 5, [True] * 5])
    information, surroundings = image_evidence(log_p, log_p.exp().amax(1), valid, foreground)
    assert information[0] == 0
    assert surroundings[1] == 1


def test_the_rule_inside_learns_from_labels() -> None:
    inside = AdaMatchThreshold(0.9, momentum=0.5)
    before = {name: value.clone() for name, value in inside.state_dict().items()}
    logits = random_logits((6, 4))
    ReliableRegions(inside).update_from_labels(logits, labels_for(logits))
    assert any(not torch.equal(value, before[name]) for name, value in inside.state_dict().items())


def test_in_evaluation_before_any_training_the_foreground_is_kept() -> None:
    logits = 5 * random_logits((2, 4, 50))
    assert bool((ReliableRegions(TrustAll()).eval()(logits).weight == 1).all())


def test_of_a_pool_that_is_all_doubtful_nothing_is_kept() -> None:
    logits = torch.zeros(4, 3, 60, dtype=torch.float64)
    logits[:, 1] = torch.linspace(0.1, 0.6, 240, dtype=torch.float64).view(4, 60)  # of three classes, at most 0.48
    assert not ReliableRegions(TrustAll())(logits).weight.any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"background": -1}, "background: got -1"),
        ({"window": 0}, "window: got 0"),
        ({"reach": 4}, "reach: got 4"),
    ],
)
def test_wrong_choices_are_named(options: dict[str, int], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        ReliableRegions(FixedThreshold(), **options)


def test_a_background_that_is_no_class_is_named() -> None:
    with pytest.raises(InvalidInputError, match="background: got 4, expected one of the 4 class ids"):
        ReliableRegions(FixedThreshold(), background=4)(random_logits((2, 4, 5)))
