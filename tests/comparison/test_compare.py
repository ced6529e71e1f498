"""Rules judged on the same predictions."""

import numpy as np
import pytest
import torch
from torch import Tensor

from residual_ssl import ConvexSelector, FixedThreshold, Selection, Selector
from residual_ssl.commands.comparison import Comparison, Predictions, compare
from residual_ssl.commands.comparison.saved import SavedArray
from residual_ssl.diagnostics import aurc
from residual_ssl.errors import InvalidInputError
from residual_ssl.selection import LearnedConvexSelector, TrustAll
from residual_ssl.selection.features import judged_points

CLASSES = 4


def tensors(seed: int = 0, count: int = 10) -> tuple[Tensor, Tensor]:
    """Logits that are right the more often the surer they are, a few without a label, a few not finite."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(count, CLASSES, 6, 5, generator=generator)
    labels = torch.distributions.Categorical(logits=logits.movedim(1, -1)).probs.flatten(0, -2)
    labels = labels.multinomial(1, generator=generator).view(count, 6, 5)
    labels[:, 0, 0] = 255
    logits[0, 1, 1, :2] = torch.inf
    return logits, labels


def predictions(logits: Tensor, labels: Tensor, **others: Tensor) -> Predictions:
    arrays = {name: SavedArray(tensor, name) for name, tensor in others.items()}
    return Predictions(SavedArray(logits, "logits"), SavedArray(labels, "labels"), **arrays)


def figures(comparison: Comparison, name: str) -> tuple[float, float, float]:
    row = comparison.row(name)
    return row.metrics.coverage.item(), row.metrics.purity.item(), row.gap


def test_every_rule_is_compared_with_confidence_at_its_own_coverage() -> None:
    logits, labels = tensors()
    found = compare(predictions(logits, labels), {"csl": ConvexSelector(), "t": FixedThreshold(0.7)}, batch=3)
    assert [row.name for row in found.rows] == ["none", "csl", "t", "oracle"]
    known = (labels != 255) & logits.isfinite().all(1)
    assert found.left_out == int((labels != 255).sum() - known.sum()) == 2
    confidence, right = logits.softmax(1).amax(1)[known], (logits.argmax(1) == labels)[known]
    ranked = right[confidence.argsort(descending=True)].double()
    for name, weight in (
        ("none", torch.ones(len(right))),
        ("csl", ConvexSelector()(logits).weight[known]),
        ("t", (confidence >= 0.7).float()),
        ("oracle", right.float()),
    ):
        coverage, purity, gap = figures(found, name)
        assert coverage == pytest.approx(weight.double().mean().item()), name
        assert purity == pytest.approx(((weight * right).sum() / weight.sum()).item()), name
        points = coverage * len(right)  # between two whole numbers of points, the errors are interpolated
        taken = np.interp(points, np.arange(len(right) + 1), np.concatenate([[0], ranked.cumsum(0)]))
        assert gap == pytest.approx(purity - taken / points, abs=2e-3), name
    assert (found.confidence.aurc - aurc(confidence, right)).abs() <= found.confidence.aurc_error
    assert figures(found, "t")[2] == pytest.approx(0, abs=2e-3)


def test_batches_change_nothing_for_a_rule_that_judges_each_image_by_itself() -> None:
    data = predictions(*tensors())
    one, other = (compare(data, {"csl": ConvexSelector()}, batch=batch) for batch in (1, 10))
    assert figures(one, "csl") == pytest.approx(figures(other, "csl"))


def test_points_that_are_not_valid_do_not_count() -> None:
    logits, labels = tensors()
    valid = torch.rand(labels.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    found = compare(predictions(logits, labels, valid=valid), {})
    assert found.row("none").metrics.points == int((valid & (labels != 255) & logits.isfinite().all(1)).sum())


class Agreement(Selector):
    """Trusts where two predictions agree."""

    evidence = ("second",)

    def forward(self, logits: Tensor, valid: Tensor | None = None, *, second: Tensor) -> Selection:  # type: ignore[override]
        points = judged_points(logits, valid)
        return self.select(points, points.label == second.argmax(1))


class Mentioned(Selector):
    """Trusts the classes that labelled samples showed it."""

    def __init__(self) -> None:
        super().__init__()
        self.add_state("seen", torch.zeros(CLASSES), "sum")

    def update_from_labels(self, logits: Tensor, target: Tensor, ignore_index: int = 255) -> None:
        self.seen += torch.bincount(target[target != ignore_index], minlength=CLASSES)

    def forward(self, logits: Tensor, valid: Tensor | None = None) -> Selection:
        points = judged_points(logits, valid)
        return self.select(points, self.seen[points.label] > 0)


def test_a_rule_that_needs_a_second_prediction_gets_it_or_says_so() -> None:
    logits, labels = tensors()
    second = tensors(seed=1)[0]
    found = compare(predictions(logits, labels, second=second), {"agreement": Agreement()}, batch=4)
    known = (labels != 255) & logits.isfinite().all(1)
    expected = (logits.argmax(1) == second.argmax(1))[known].double().mean().item()
    assert figures(found, "agreement")[0] == pytest.approx(expected)
    with pytest.raises(InvalidInputError, match=r"selector agreement: Agreement judges by a second .* --second FILE"):
        compare(predictions(logits, labels), {"agreement": Agreement()})


def test_a_rule_that_learns_is_taught_or_says_so() -> None:
    logits, labels = tensors()
    teaching = torch.where(labels < 2, labels, 255)
    found = compare(predictions(logits, labels), {"seen": Mentioned()}, labelled=predictions(logits, teaching), batch=4)
    known = (labels != 255) & logits.isfinite().all(1)
    assert figures(found, "seen")[0] == pytest.approx((logits.argmax(1) < 2)[known].double().mean().item())
    for rule in (Mentioned(), LearnedConvexSelector()):
        with pytest.raises(InvalidInputError, match=r"selector mine: .* learns from .* --labelled-logits FILE"):
            compare(predictions(logits, labels), {"mine": rule})


def test_a_rule_that_is_fitted_is_fitted_on_the_labelled_predictions() -> None:
    labelled, data = (predictions(*tensors(seed, count=60)) for seed in (1, 2))
    found = compare(data, {"learned": LearnedConvexSelector(window=1)}, labelled=labelled)
    assert found.row("learned").metrics.by_weight.aurc < found.row("none").metrics.by_weight.aurc


def test_a_fault_of_a_rule_names_the_rule() -> None:
    logits, labels = torch.zeros(4, CLASSES), torch.zeros(4, dtype=torch.int64)
    with pytest.raises(InvalidInputError, match="selector mine: scope"):
        compare(predictions(logits, labels), {"mine": ConvexSelector(scope="sample")})


def test_a_rule_that_selects_nothing_has_no_gap() -> None:
    found = compare(predictions(*tensors()), {"strict": FixedThreshold(1.0)})
    assert np.isnan(found.row("strict").gap)


@pytest.mark.parametrize("count", [0, 3])
def test_predictions_without_a_known_label_are_an_error(count: int) -> None:
    nothing = predictions(torch.zeros(count, 2), torch.full((count,), 255))
    with pytest.raises(InvalidInputError, match="labels: got no known label at a point that can be judged"):
        compare(nothing, {"none": TrustAll()})


def test_a_batch_below_one_is_named() -> None:
    with pytest.raises(InvalidInputError, match="batch: got -1"):
        compare(predictions(*tensors()), {}, batch=-1)
