"""ReliableImages: entropies and correlation by definition, the split by trying all, strangers left out."""

import numpy as np
import pytest
import torch
from selector_contract import SelectorContract, labels_for, random_logits
from torch import Tensor

from residual_ssl import ConvexSelector, FixedThreshold
from residual_ssl.errors import InvalidInputError
from residual_ssl.selection import (
    AgreementThreshold,
    ConfidenceWeight,
    NoSelection,
    OracleSelection,
    RelativeThreshold,
    ReliableImages,
)
from residual_ssl.selection.reliable_images import best_split, image_evidence


class TestOfNoSelection(SelectorContract):
    per_sample = False

    def make(self) -> ReliableImages:
        return ReliableImages(NoSelection(), NoSelection(), window=6)


class TestOfConfidenceSeparableLearning(SelectorContract):
    per_sample = False

    def make(self) -> ReliableImages:
        return ReliableImages(ConfidenceWeight(), ConvexSelector(), background=2, gamma=0.0)


class TestOfASecondPrediction(SelectorContract):
    per_sample = False

    def make(self) -> ReliableImages:
        return ReliableImages(AgreementThreshold(0.3), FixedThreshold(0.6))


def entropy(p: Tensor) -> float:
    return float(-(p * p.log()).sum())


def evidence_by_definition(logits: Tensor, valid: Tensor, background: int) -> tuple[float, float]:
    """Information and surroundings of one image ``(K, N)``."""
    p = logits.double().softmax(0)
    inside = [p[:, n] for n in range(p.shape[1]) if valid[n] and int(p[:, n].argmax()) != background]
    outside = [float(p[:, n].max()) for n in range(p.shape[1]) if valid[n] and int(p[:, n].argmax()) == background]
    information = entropy(torch.stack(inside).mean(0)) - sum(map(entropy, inside)) / len(inside)
    return information, sum(outside) / len(outside)


def split_by_trial(scores: np.ndarray) -> float:
    ordered = np.sort(scores)
    within = [ordered[:k].var() * k + ordered[k:].var() * (len(scores) - k) for k in range(1, len(scores))]
    best = int(np.argmin(within)) + 1
    return float(ordered[best - 1] + ordered[best]) / 2


@pytest.mark.parametrize("gamma", [0.0, 0.4, 3.0])
def test_the_foreground_of_images_below_the_split_of_the_window_loses_weight(gamma: float) -> None:
    rule = ReliableImages(NoSelection(), NoSelection(), background=1, window=12, gamma=gamma)
    seen: list[tuple[float, float]] = []
    lost = 0
    for step in range(4):
        logits = random_logits((5, 4, 9, 8), seed=step) * torch.linspace(0.2, 1.5, 5)[:, None, None, None]
        valid = torch.rand(5, 9, 8, generator=torch.Generator().manual_seed(step)) < 0.8
        chosen = rule(logits, valid)
        now = [evidence_by_definition(logits[b].flatten(1), valid[b].flatten(), 1) for b in range(5)]
        seen = (seen + now)[-12:]
        past = np.array(seen)
        standard = (past - past.mean(0)) / past.std(0)
        correlation = np.corrcoef(past.T)[0, 1]
        strength = min(1.0, 2 * correlation / gamma) if gamma > 0 else 1.0
        threshold = split_by_trial(standard.sum(1))
        for b in range(5):
            score = ((np.array(now[b]) - past.mean(0)) / past.std(0)).sum()
            expected = 1.0 if score >= threshold else 1 - strength
            foreground = valid[b] & (logits[b].argmax(0) != 1)
            torch.testing.assert_close(
                chosen.weight[b], torch.where(foreground, expected, valid[b].double()), atol=1e-5, rtol=0
            )
            lost += expected < 1
        assert correlation > 0
    assert 0 < lost < 20


def test_images_of_strangers_are_left_out_and_their_background_is_kept() -> None:
    generator = torch.Generator().manual_seed(0)
    strangers = torch.arange(40) % 2 == 0
    # Objects of classes 1 to 4 side by side; those of strangers look like a mixture, on an unclear ground.
    truth = torch.tensor([0, 0, 1, 2, 3, 4]).repeat_interleave(10).expand(40, -1)
    clear = 5 * torch.nn.functional.one_hot(truth, 5).mT.double()
    logits = torch.where(strangers[:, None, None], 0.4 * clear, clear)
    logits = logits + 0.3 * torch.randn(logits.shape, generator=generator, dtype=torch.float64)
    weight = ReliableImages(NoSelection(), NoSelection())(logits).weight
    foreground = logits.argmax(1) > 0
    assert not weight[strangers][foreground[strangers]].any()
    assert bool((weight[~strangers] == 1).all())
    assert bool((weight[~foreground] == 1).all())


def test_a_pool_in_which_nothing_tells_two_kinds_apart_is_kept_as_it_is() -> None:
    # Information and surroundings of the images vary, each by itself.
    clear = torch.tensor([2.0, 6.0, 2.0, 6.0]).double()
    ground = torch.tensor([2.0, 2.0, 6.0, 6.0]).double()
    logits = torch.zeros(4, 3, 30, dtype=torch.float64)
    logits[:, 0, :10] = ground[:, None]
    logits[:, 1, 10:20] = clear[:, None]
    logits[:, 2, 20:] = clear[:, None]
    torch.testing.assert_close(
        ReliableImages(NoSelection(), NoSelection())(logits).weight, torch.ones(4, 30, dtype=torch.float64)
    )


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
    information, surroundings, seen = image_evidence(log_p, log_p.exp().amax(1), valid, foreground)
    assert information[0] == 0
    assert surroundings[1] == 1
    assert seen.tolist() == [False, True]


@pytest.mark.parametrize("place", [0, 1])
def test_the_rules_inside_learn_from_labels(place: int) -> None:
    inside = RelativeThreshold(0.9, momentum=0.5)
    before = {name: value.clone() for name, value in inside.state_dict().items()}
    logits = random_logits((6, 4))
    rules = [NoSelection(), NoSelection()]
    rules[place] = inside
    ReliableImages(*rules).observe(logits, labels_for(logits))
    assert any(not torch.equal(value, before[name]) for name, value in inside.state_dict().items())


def test_foreground_and_background_are_judged_by_their_own_rules() -> None:
    logits = random_logits((1, 4, 50))
    truth = torch.randint(0, 4, (1, 50), generator=torch.Generator().manual_seed(1))
    second = logits.flip(2)
    rule = ReliableImages(OracleSelection(), AgreementThreshold(0.0))
    chosen = rule(logits, truth=truth, second=second)
    label = logits.argmax(1)
    expected = torch.where(label > 0, label == truth, label == second.argmax(1))
    assert torch.equal(chosen.trusted, expected)
    assert torch.equal(chosen.weight, expected.double())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"background": -1}, "background: got -1"),
        ({"window": 0}, "window: got 0"),
        ({"gamma": -0.1}, "gamma: got -0.1"),
    ],
)
def test_wrong_choices_are_named(options: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        ReliableImages(FixedThreshold(), FixedThreshold(), **options)  # type: ignore[arg-type]
