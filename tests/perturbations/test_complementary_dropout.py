"""Complementary dropout: two views share the channels between them."""

import pytest
import torch

from residual_ssl.errors import InvalidInputError
from residual_ssl.perturbations import ComplementaryDropout


def test_each_channel_is_in_exactly_one_of_the_two_views_and_doubled() -> None:
    torch.manual_seed(0)
    features = torch.rand(10, 400, 3, 2) + 1
    first, second = ComplementaryDropout(1.0)(features).chunk(2)
    in_first = (first != 0).flatten(2).all(2)
    assert torch.equal((second != 0).flatten(2).any(2), ~in_first)
    torch.testing.assert_close(first[in_first], 2 * features[:5][in_first])
    torch.testing.assert_close(second[~in_first], 2 * features[5:][~in_first])
    assert 0.47 < in_first.float().mean() < 0.53


def test_samples_are_left_as_they_are_in_both_views_or_in_none() -> None:
    torch.manual_seed(0)
    features = torch.ones(800, 16)
    first, second = ComplementaryDropout(0.5)(features).chunk(2)
    untouched = (first == 1).all(1)
    assert torch.equal(untouched, (second == 1).all(1))
    assert bool(((first == 0) | (first == 2))[~untouched].all())
    assert 0.42 < untouched.float().mean() < 0.58


def test_an_odd_number_of_views_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"features: got 3 views"):
        ComplementaryDropout()(torch.ones(3, 8))
