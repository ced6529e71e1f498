"""The partition's moments against their definition, and the order of the work, which must not show."""

import numpy as np
import pytest
import torch
from torch import Tensor

from residual_ssl.selection import ConvexPartition, convex_partition
from residual_ssl.selection.convex import separation

FIELDS = ("program", "gram", "reliable", "mean", "variance")


def features(groups: int, points: int, dtype: torch.dtype = torch.float64) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Confident points with a thin spread in dispersion, as predictions have, and a tenth that is not valid."""
    generator = torch.Generator().manual_seed(0)
    confidence, spread, kept = torch.rand(3, groups, points, dtype=torch.float64, generator=generator)
    confidence = 1 - 0.5 * confidence**3
    dispersion = (1 - confidence) ** 2 * spread / 20
    return (confidence.to(dtype), dispersion.to(dtype)), kept > 0.1


def fields(partition: ConvexPartition) -> dict[str, Tensor]:
    return {name: getattr(partition, name) for name in FIELDS}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-6)])
def test_moments_are_those_of_the_reliable_points(dtype: torch.dtype, tolerance: float) -> None:
    (confidence, dispersion), valid = features(2, 60_001, dtype)
    partition = convex_partition((confidence, dispersion), valid)
    for group in range(2):
        points = torch.stack([confidence[group], dispersion[group]], 1).double().numpy()
        judged = points[valid[group].numpy()]
        np.testing.assert_allclose(partition.gram[group].numpy(), judged.T @ judged / len(judged), rtol=tolerance)
        chosen = points[partition.reliable[group].numpy() == 1]
        assert 0 < len(chosen) < len(judged)
        np.testing.assert_allclose(partition.mean[group].numpy(), chosen.mean(0), rtol=tolerance)
        np.testing.assert_allclose(partition.variance[group].numpy(), chosen.var(0, ddof=1), rtol=tolerance)


@pytest.mark.parametrize("solver", ["closed_form", "cvxpylayers"])
@pytest.mark.parametrize("temperature", [0.0, 0.3])
def test_groups_worked_on_in_turn_give_what_they_give_together(
    solver: str, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    (confidence, dispersion), valid = features(5, 300)
    results = []
    for together in (10_000, 700):
        monkeypatch.setattr(separation, "_POINTS_TOGETHER", together)
        tracked = confidence.clone().requires_grad_()
        partition = convex_partition((tracked, dispersion), valid, solver=solver, temperature=temperature)
        (slope,) = torch.autograd.grad(partition.mean.sum() + partition.variance.sum(), tracked)
        results.append({**fields(partition), "gradient": slope, "fallbacks": partition.fallbacks})
    torch.testing.assert_close(results[1], results[0])
    assert (results[0]["fallbacks"] is None) == (solver == "closed_form")


def test_no_groups_and_no_points() -> None:
    for groups, points in ((0, 4), (3, 0)):
        nothing = torch.zeros(groups, points)
        partition = convex_partition((nothing, nothing), nothing.bool())
        assert partition.reliable.shape == (groups, points)
        assert not partition.mean.any()
        assert partition.variance.shape == (groups, 2)
