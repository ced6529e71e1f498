"""The area under the ROC curve against scikit-learn's, with ties, and at its ends."""

import math

import pytest
import torch
from sklearn.metrics import roc_auc_score

from residual_ssl.diagnostics import auroc
from residual_ssl.errors import InvalidInputError


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_it_is_that_of_scikit_learn(levels: int) -> None:
    generator = torch.Generator().manual_seed(levels)
    score = torch.randint(levels, (7, 30), generator=generator).double()
    positive = torch.rand(7, 30, generator=generator) < 0.2 + 0.6 * score / levels
    expected = roc_auc_score(positive.flatten().numpy(), score.flatten().numpy())
    assert auroc(score, positive).item() == pytest.approx(expected)


def test_the_ends_and_no_positives() -> None:
    positive = torch.tensor([True, True, False])
    assert auroc(torch.tensor([2.0, 1.0, -torch.inf]), positive) == 1
    assert auroc(torch.tensor([-2.0, -1.0, 0.0]), positive) == 0
    assert auroc(torch.zeros(3), positive) == 0.5
    assert math.isnan(auroc(torch.zeros(3), torch.zeros(3, dtype=torch.bool)))


def test_other_shapes_and_nan_are_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"score, positive: got torch.float32 of shape \(2,\)"):
        auroc(torch.zeros(2), torch.zeros(3, dtype=torch.bool))
    with pytest.raises(InvalidInputError, match="score: got NaN"):
        auroc(torch.tensor([torch.nan]), torch.tensor([True]))
