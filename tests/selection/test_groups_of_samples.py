"""Whole samples, K = 10: a batch, a window filled with the same points and one large group are judged alike."""

import pytest
import torch
from torch import Tensor

from residual_ssl import ConvexSelector

BATCH, BATCHES = 32, 8


def logits() -> Tensor:
    """Predictions of ten classes, from sure to undecided."""
    generator = torch.Generator().manual_seed(0)
    sharpness = torch.logspace(-1, 1, BATCH * BATCHES)[torch.randperm(BATCH * BATCHES, generator=generator)]
    return torch.randn(BATCH * BATCHES, 10, generator=generator) * sharpness.unsqueeze(1)


@pytest.mark.parametrize("variant", ["csl", "covar"])
def test_a_window_filled_with_the_points_judges_them_as_one_group(variant: str) -> None:
    points = logits()
    whole = ConvexSelector(variant, scope="batch")(points)  # type: ignore[arg-type]
    windowed = ConvexSelector(variant, scope="window", window=len(points))  # type: ignore[arg-type]
    for part in points.split(BATCH):
        windowed(part)
    windowed.eval()
    weights = torch.cat([windowed(part).weight for part in points.split(BATCH)])
    torch.testing.assert_close(weights, whole.weight)
    assert 0.2 < whole.trusted.float().mean() < 1


def test_samples_of_one_point_are_judged_as_the_points_of_one_image() -> None:
    points = logits()
    as_samples = ConvexSelector()(points)
    as_image = ConvexSelector(scope="sample")(points.T.reshape(1, 10, 16, 16))
    torch.testing.assert_close(as_samples.weight, as_image.weight.flatten())


def test_small_batches_by_themselves_are_judged_otherwise() -> None:
    points = logits()
    whole = ConvexSelector()(points)
    apart = torch.cat([ConvexSelector()(part).weight for part in points.split(8)])
    assert not torch.allclose(apart, whole.weight, atol=0.05)
