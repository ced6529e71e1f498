"""Feature dropout."""

import pytest
import torch

from residual_ssl.errors import InvalidInputError
from residual_ssl.perturbations import FeatureDropout


@pytest.mark.parametrize("shape", [(20, 500), (20, 500, 3, 3)])
def test_whole_channels_are_dropped_and_the_expectation_is_kept(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    features = torch.rand(shape) + 1
    dropped = FeatureDropout(0.25).eval()(features)
    kept = (dropped != 0).reshape(20, 500, -1)
    assert bool((kept == kept[..., :1]).all())
    torch.testing.assert_close(dropped[dropped != 0], features[dropped != 0] / 0.75)
    assert 0.23 < 1 - kept.float().mean() < 0.27


def test_a_probability_of_one_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"probability: got 1"):
        FeatureDropout(1)
