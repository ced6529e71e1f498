"""Reversed gradients, conditioned features, and the network that holds the discriminator."""

import pytest
import torch
from helpers.toy_domains import VectorClassifier
from torch import Tensor

from residual_ssl.algorithms import DomainNetwork
from residual_ssl.algorithms.domain_network import MultilinearMap, reverse_gradient
from residual_ssl.errors import ConfigError
from residual_ssl.models import SmallSegmenter


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_reversed_gradient_is_minus_strength_times_the_finite_difference() -> None:
    x, strength, step = noise(4), 0.3, 1e-6
    assert torch.equal(reverse_gradient(x, strength), x)
    argument = x.clone().requires_grad_()
    reverse_gradient(argument, torch.tensor(strength)).pow(3).sum().backward()
    assert argument.grad is not None
    for place in range(4):
        moved = x.clone()
        moved[place] += step
        slope = (moved.pow(3).sum() - x.pow(3).sum()) / step
        assert argument.grad[place].item() == pytest.approx(-strength * slope.item(), rel=1e-4)


def test_the_map_is_every_product_of_a_feature_and_a_probability() -> None:
    features, probabilities = noise(3, 5), noise(3, 4, seed=1).softmax(1)
    mapped = MultilinearMap(5, 4)(features, probabilities)
    assert mapped.shape == (3, 20)
    for sample in range(3):
        products = [f * p for f in features[sample].tolist() for p in probabilities[sample].tolist()]
        assert mapped[sample].tolist() == pytest.approx(products)


def test_a_large_map_is_sampled_and_keeps_inner_products() -> None:
    torch.manual_seed(0)
    conditioned = MultilinearMap(1000, 5).double()
    features, probabilities = noise(2, 1000), noise(2, 5, seed=1).softmax(1)
    features[1] = 0.7 * features[0] + 0.3 * features[1]
    sampled = conditioned(features, probabilities)
    assert sampled.shape == (2, 1024)
    exact = (features[0] @ features[1]) * (probabilities[0] @ probabilities[1])
    scale = features[0].norm() * features[1].norm() * probabilities[0].norm() * probabilities[1].norm()
    # Of d = 1024 independent products with that mean; 5 deviations of at most 3·scale/√d.
    assert abs((sampled[0] @ sampled[1] - exact) / scale) < 5 * 3 / 32
    assert {name for name, _ in conditioned.named_buffers()} == {"of_features", "of_probabilities"}


@pytest.mark.parametrize("conditioned", [False, True])
def test_the_discriminator_descends_and_the_encoder_ascends(conditioned: bool) -> None:
    torch.manual_seed(0)
    network = DomainNetwork(VectorClassifier(), 3, hidden=16, conditioned=conditioned)
    x = torch.randn(6, 6)

    def gradients(strength: float) -> dict[str, Tensor]:
        network.zero_grad()
        network(x, strength)[1].square().sum().backward()
        return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}

    with_the_loss, against, half = gradients(-1.0), gradients(1.0), gradients(0.5)
    assert set(against) == {name for name, _ in network.named_parameters() if "head" not in name}
    for name, gradient in with_the_loss.items():
        sign = 1.0 if name.startswith("discriminator") else -1.0
        assert gradient.any()
        torch.testing.assert_close(against[name], sign * gradient)
        torch.testing.assert_close(half[name], gradient if sign > 0 else -0.5 * gradient)


def test_class_logits_are_those_of_the_network() -> None:
    network = VectorClassifier()
    x = torch.randn(5, 6)
    logits, domain = DomainNetwork(network, 3)(x, 1.0)
    assert torch.equal(logits, network(x))
    assert domain.shape == (5,)


def test_a_network_without_one_feature_vector_a_sample_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"SmallSegmenter is no ClassificationModel of .*; give it a classifier"):
        DomainNetwork(SmallSegmenter(11), 11)
