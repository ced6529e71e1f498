"""Networks of RGB that are made to take other numbers of channels."""

from functools import partial

import pytest
import torch
from torch import nn

from residual_ssl.errors import ConfigError, InvalidInputError
from residual_ssl.models import DeepLabV3Plus, SmallSegmenter, TimmClassifier, adapt_channels, built_network


def stem() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1))


@pytest.mark.parametrize("channels", [1, 6, 15])
def test_channels_that_are_alike_are_answered_as_grey_was(channels: int) -> None:
    network, grey = stem(), torch.rand(2, 1, 9, 9)
    expected = network(grey.expand(-1, 3, -1, -1))
    adapt_channels(network, channels)
    torch.testing.assert_close(network(grey.expand(-1, channels, -1, -1)), expected)


def test_weights_of_rgb_are_repeated_in_turn_and_scaled() -> None:
    network, before = stem(), stem()[0].weight
    adapt_channels(network, 5)
    for channel in range(5):
        torch.testing.assert_close(network[0].weight[:, channel], before[:, channel % 3] * 3 / 5)


def test_a_network_that_takes_the_channels_is_left_as_it_is() -> None:
    network = nn.Sequential(nn.Conv2d(5, 8, 3), nn.Conv2d(8, 3, 1), nn.Conv2d(3, 4, 1))
    before = network[0].weight.clone()
    adapt_channels(network, 5)
    assert torch.equal(network[0].weight, before)
    with pytest.raises(ConfigError, match="Linear has no convolution of three channels that could take 5"):
        adapt_channels(nn.Linear(2, 2), 5)


def test_a_frozen_stem_stays_frozen() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3)).requires_grad_(False)
    adapt_channels(network, 4)
    assert not network[0].weight.requires_grad


@pytest.mark.parametrize(
    ("factory", "shape"),
    [
        (partial(SmallSegmenter, widths=[8]), (4, 32, 32)),
        (partial(DeepLabV3Plus, backbone="resnet18"), (4, 32, 32)),
        (partial(TimmClassifier, backbone="resnet10t"), (4,)),
    ],
)
def test_networks_of_the_library_are_built_for_the_channels_of_an_example(factory: partial, shape: tuple) -> None:
    network = built_network(factory, 4, torch.zeros(5, 32, 32)).eval()
    assert network(torch.zeros(2, 5, 32, 32)).shape == (2, *shape)
    if len(shape) == 3:
        with pytest.raises(InvalidInputError, match=r"expected floating images \(B, 5, H, W\)"):
            network(torch.zeros(2, 3, 32, 32))


def test_what_a_configuration_says_of_the_channels_is_not_overruled() -> None:
    def factory(num_classes: int, in_channels: int = 3) -> nn.Module:
        return nn.Conv2d(in_channels, num_classes, 1)

    assert built_network(factory, 4, torch.zeros(6, 8, 8)).in_channels == 6
    assert built_network(partial(factory, in_channels=2), 4, torch.zeros(6, 8, 8)).in_channels == 2
