"""TopFraction: what is kept of each class, counted and ranked by hand."""

from typing import Any

import pytest
import torch

from residual_ssl.errors import InvalidInputError
from residual_ssl.selection import TopFraction
from residual_ssl.testing import SelectorContract, labels_for, random_logits


class TestPredicted(SelectorContract):
    per_sample = False

    def make(self) -> TopFraction:
        return TopFraction(10)


class TestLabelledBySample(SelectorContract):
    def make(self) -> TopFraction:
        return TopFraction(10, 0.5, balance="labelled", scope="sample")


class TestOverAllOfAWindow(SelectorContract):
    per_sample = False

    def make(self) -> TopFraction:
        return TopFraction(10, 0.4, balance="none", scope="window", window=300)


def kept(points: list[tuple[float, int]], budget: dict[int, float]) -> list[bool]:
    """Whether each (confidence, class) is among the ``budget`` most confident of its class."""
    return [
        sum(y == label and c > confidence for c, y in points) < round(budget[label]) for confidence, label in points
    ]


def judged(logits: torch.Tensor) -> list[tuple[float, int]]:
    confidence, label = logits.softmax(1).max(1)
    return list(zip(confidence.flatten().tolist(), label.flatten().tolist(), strict=True))


def test_the_same_share_of_each_predicted_class_is_kept_and_it_grows() -> None:
    rule = TopFraction(4, 0.2, 1.0)
    for step in range(6):
        logits = random_logits((3, 4, 20), seed=step)
        points, share = judged(logits), min(0.2 + 0.2 * step, 1.0)
        budget = {k: share * sum(y == k for _, y in points) for k in range(4)}
        assert rule(logits).trusted.flatten().tolist() == kept(points, budget)


def test_with_labels_the_shares_of_what_is_kept_are_theirs() -> None:
    rule = TopFraction(10, 0.3, 0.3, balance="labelled")
    labels: list[int] = []
    for step in range(3):
        labelled, logits = random_logits((5, 3, 9), seed=30 + step), random_logits((2, 3, 50), seed=step)
        target = labels_for(labelled, step)
        target[:, :4] = 2  # far more of this class than is predicted
        rule.update_from_labels(labelled, target)
        labels += [y for y in target.flatten().tolist() if y != 255]
        points = judged(logits)
        budget = {k: 0.3 * 100 * labels.count(k) / len(labels) for k in range(3)}
        assert rule(logits).trusted.flatten().tolist() == kept(points, budget)


def test_over_all_classes_the_most_confident_are_kept() -> None:
    logits = random_logits((60, 4))
    chosen = TopFraction(5, 0.25, 0.25, balance="none")(logits)
    assert chosen.trusted.sum() == 15
    assert chosen.confidence[chosen.trusted].min() > chosen.confidence[~chosen.trusted].max()


def test_in_a_window_points_are_ranked_among_those_of_past_batches() -> None:
    rule, seen = TopFraction(5, 0.5, 0.5, scope="window", window=24), []
    for step in range(5):
        logits = random_logits((8, 3), seed=step) * (1 + step)
        points = judged(logits.float().double())
        seen = (seen + points)[-24:]
        budget = {k: 0.5 * sum(y == k for _, y in seen) for k in range(3)}
        assert rule(logits.float()).trusted.tolist() == kept(seen, budget)[-8:]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fraction": 20}, "fraction: got 20"),
        ({"balance": "class"}, "balance: got 'class', expected one of 'none', 'predicted', 'labelled'"),
        ({"scope": "image"}, "scope: got 'image'"),
        ({"window": 0}, "window: got 0"),
    ],
)
def test_wrong_choices_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        TopFraction(10, **options)
