"""Trimmed cross-entropy: the points of the largest loss of each sample are left out, all others as without it."""

import pytest
import torch
from torch.nn import functional as F

from residual_ssl import FixedThreshold, selected_cross_entropy
from residual_ssl.errors import InvalidInputError
from residual_ssl.losses import TrimmedCrossEntropy, trimmed_cross_entropy
from residual_ssl.selection import SharpenedThreshold, TrustAll


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(20, 3), (2, 3, 4, 5), (3, 3, 10)])
@pytest.mark.parametrize("dropped", [0.0, 0.1, 0.3, 0.5])
def test_it_is_the_mean_over_what_is_left_of_each_sample(shape: tuple[int, ...], dropped: float) -> None:
    pseudo, student = TrustAll()(drawn(*shape)), drawn(*shape, seed=1)
    losses = F.cross_entropy(student, pseudo.label, reduction="none")
    groups = losses.reshape(1, -1) if losses.dim() == 1 else losses.flatten(1)
    left = [v for group in groups.tolist() for v in sorted(group)[: len(group) - round(dropped * len(group))]]
    assert trimmed_cross_entropy(student, pseudo, dropped).item() == pytest.approx(sum(left) / len(left), rel=1e-5)


def test_a_tenth_is_of_the_points_that_weigh_something() -> None:
    pseudo, student = FixedThreshold(0.7)(drawn(1, 3, 100), torch.arange(100)[None] < 90), drawn(1, 3, 100, seed=1)
    losses = F.cross_entropy(student, pseudo.label, reduction="none")[0]
    chosen = sorted(losses[pseudo.weight[0] > 0].tolist())
    gone = len(chosen) // 10
    assert 0 < gone < 10
    expected = sum(chosen[:-gone]) / (90 - gone)
    assert TrimmedCrossEntropy(0.1)(student, pseudo).item() == pytest.approx(expected, rel=1e-5)


def test_nothing_dropped_is_the_cross_entropy_of_the_selection() -> None:
    for selector in (FixedThreshold(0.6), SharpenedThreshold(0.5)):
        pseudo, student = selector(drawn(2, 3, 8)), drawn(2, 3, 8, seed=1)
        torch.testing.assert_close(trimmed_cross_entropy(student, pseudo, 0.0), selected_cross_entropy(student, pseudo))


def test_nothing_selected_gives_zero_and_what_is_dropped_no_gradient() -> None:
    student = drawn(1, 3, 10, seed=1).requires_grad_()
    none = FixedThreshold(1.0)(drawn(1, 3, 10))
    assert trimmed_cross_entropy(student, none).item() == 0
    pseudo = TrustAll()(drawn(1, 3, 10))
    trimmed_cross_entropy(student, pseudo, 0.1).backward()
    worst = F.cross_entropy(student.detach(), pseudo.label, reduction="none").argmax()
    assert student.grad is not None
    assert (student.grad[0].abs().sum(0) == 0).nonzero().tolist() == [[worst]]


def test_a_share_of_all_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"dropped: got 1.0, expected a number in \[0, 1\)"):
        TrimmedCrossEntropy(1.0)
