"""Masked quantiles and ranks by class against NumPy and sorting by hand."""

import numpy as np
import pytest
import torch

from residual_ssl.selection.points.ranking import class_rank_thresholds, masked_quantile


@pytest.mark.parametrize("level", [0.0, 0.13, 0.5, 0.9, 1.0])
def test_the_masked_quantile_is_that_of_the_points_kept(level: float) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(5, 23, generator=generator, dtype=torch.float64)
    keep = torch.rand(5, 23, generator=generator) < 0.5
    expected = [np.quantile(v[k].numpy(), level) for v, k in zip(values, keep, strict=True)]
    np.testing.assert_allclose(masked_quantile(values, keep, level), expected, rtol=1e-12)


def test_a_group_that_keeps_nothing_or_has_no_point_has_an_infinite_quantile() -> None:
    assert masked_quantile(torch.zeros(1, 3), torch.zeros(1, 3, dtype=torch.bool), 0.5).item() == float("inf")
    assert masked_quantile(torch.zeros(2, 0), torch.zeros(2, 0, dtype=torch.bool), 0.5).tolist() == [float("inf")] * 2


def test_rank_thresholds_are_the_last_values_within_the_budget() -> None:
    generator = torch.Generator().manual_seed(1)
    values = torch.rand(3, 40, generator=generator, dtype=torch.float64)
    label = torch.randint(4, (3, 40), generator=generator)
    keep = torch.rand(3, 40, generator=generator) < 0.8
    budget = torch.tensor([[1, 3, 0, 100], [2, 2, 2, 2], [0, 0, 5, 1]])
    found = class_rank_thresholds(values, label, keep, budget)
    for g in range(3):
        for k in range(4):
            own = sorted(
                (v for v, y, ok in zip(values[g].tolist(), label[g], keep[g], strict=True) if ok and y == k),
                reverse=True,
            )
            taken = own[: budget[g, k]]
            assert found[g, k] == (taken[-1] if taken else float("inf"))
