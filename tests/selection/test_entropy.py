"""U2PLThreshold against NumPy's percentile and ranks counted one by one."""

import numpy as np
import pytest
import torch

from residual_ssl.errors import InvalidInputError
from residual_ssl.losses import selected_cross_entropy
from residual_ssl.selection import U2PLThreshold
from residual_ssl.testing import SelectorContract, random_logits


class TestContract(SelectorContract):
    per_sample = False

    def make(self) -> U2PLThreshold:
        return U2PLThreshold(total_steps=10, unreliable=0.4, negative_ranks=(2, 4))


def entropies(logits: torch.Tensor) -> np.ndarray:
    p = logits.softmax(1).numpy()
    return -(p * np.log(p)).sum(1)


def test_each_step_leaves_out_the_share_of_highest_entropy_that_its_time_allows() -> None:
    rule = U2PLThreshold(total_steps=4, unreliable=0.4)
    left_out = []
    for step in range(6):
        logits = random_logits((3, 7, 8, 9), seed=step)
        valid = torch.rand(3, 8, 9, generator=torch.Generator().manual_seed(step)) < 0.7
        chosen = rule(logits, valid)
        entropy, share = entropies(logits), 0.4 * (1 - min(step / 4, 1))
        bound = np.percentile(entropy[valid.numpy()], 100 * (1 - share))
        expected = valid.numpy() & ((entropy < bound) if share > 0 else True)
        assert np.array_equal(chosen.trusted.numpy(), expected)
        left_out.append(1 - chosen.coverage.item())
    assert left_out == pytest.approx([0.4, 0.3, 0.2, 0.1, 0, 0], abs=0.01)


def test_negative_labels_are_the_low_ranks_of_the_points_left_out() -> None:
    logits = random_logits((40, 8))
    chosen = U2PLThreshold(total_steps=9, unreliable=0.5, negative_ranks=(3, 6))(logits)
    for x, trusted, negative in zip(logits, chosen.trusted, chosen.negative, strict=True):
        for k in range(8):
            rank = int((x > x[k]).sum())
            assert negative[k] == (not trusted and 3 <= rank < 6)
    assert chosen.negative.any()


def test_ranks_beyond_the_classes_leave_no_negative_label_and_the_loss_stays_finite() -> None:
    logits = torch.zeros(6, 3)  # all classes alike: ranks follow no order
    chosen = U2PLThreshold(total_steps=9, unreliable=1.0, negative_ranks=(1, 20))(logits)
    assert not chosen.negative.all(1).any()
    assert not chosen.negative.gather(1, chosen.label[:, None]).any()
    assert selected_cross_entropy(logits, chosen).isfinite()
    assert not U2PLThreshold(total_steps=9, negative_ranks=(3, 20))(random_logits((9, 3))).negative.any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"total_steps": 5, "unreliable": 20}, r"unreliable: got 20, expected a number"),
        ({"total_steps": 5, "negative_ranks": (0, 3)}, r"negative_ranks: got \(0, 3\)"),
    ],
)
def test_wrong_choices_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        U2PLThreshold(**options)
