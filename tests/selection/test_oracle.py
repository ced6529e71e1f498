"""The oracle weighs by the truth and by nothing else."""

import pytest
import torch

from residual_ssl.errors import InvalidInputError
from residual_ssl.selection import OracleSelector
from residual_ssl.testing import random_logits


def test_weight_is_the_correctness_of_the_label() -> None:
    logits = random_logits((2, 5, 6, 7))
    truth = torch.randint(0, 5, (2, 6, 7), generator=torch.Generator().manual_seed(1))
    truth[0, 0] = 255
    valid = torch.ones(2, 6, 7, dtype=torch.bool)
    valid[1, :, 0] = False
    chosen = OracleSelector()(logits, valid, truth=truth)
    expected = torch.tensor(
        [
            [[valid[b, i, j] and logits[b, :, i, j].argmax() == truth[b, i, j] for j in range(7)] for i in range(6)]
            for b in range(2)
        ]
    )
    assert torch.equal(chosen.weight, expected.to(chosen.weight.dtype))
    assert 0 < chosen.weight.mean() < 1


def test_a_truth_of_another_shape_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"truth: got shape \(3,\), expected \(2,\)"):
        OracleSelector()(torch.zeros(2, 5), truth=torch.zeros(3, dtype=torch.int64))


def test_a_perfect_filter_trusts_whatever_is_of_one_of_the_classes() -> None:
    logits = torch.tensor([[4.0, 0.0], [4.0, 0.0], [4.0, 0.0], [4.0, 0.0]])
    chosen = OracleSelector(keep="known")(logits, truth=torch.tensor([0, 1, -1, 255]))
    assert chosen.weight.tolist() == [1, 1, 0, 0]
    with pytest.raises(InvalidInputError, match="keep: got 'wrong'"):
        OracleSelector(keep="wrong")  # type: ignore[arg-type]
