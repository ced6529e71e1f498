"""Sigmoid outputs as points of two classes."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from residual_ssl.engine.setup.optimization import parameter_groups
from residual_ssl.losses import labelled_cross_entropy
from residual_ssl.models import EncoderDecoder, SmallClassifier, SmallSegmenter, two_class_network


@pytest.mark.parametrize(("several", "shape"), [(True, (4, 2, 3)), (False, (4, 2))])
def test_cross_entropy_of_the_points_is_binary_cross_entropy_of_the_outputs(
    several: bool, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    network = SmallClassifier(3 if several else 1, widths=(8,)).eval()
    x = torch.randn(4, 3, 8, 8)
    target = torch.randint(0, 2, (4, *shape[2:]))
    logits, z = two_class_network(network, several)(x), network(x)
    assert logits.shape == shape
    expected = F.binary_cross_entropy_with_logits(z if several else z.squeeze(1), target.float())
    torch.testing.assert_close(labelled_cross_entropy(logits, target), expected)


def test_an_encoder_decoder_stays_one_with_one_set_of_weights() -> None:
    torch.manual_seed(0)
    inner = SmallSegmenter(1, widths=(8, 8)).eval()
    model: Any = two_class_network(copy.deepcopy(inner), several=False).eval()
    assert isinstance(model, EncoderDecoder)
    assert len(model.state_dict()) == len(inner.state_dict())
    x = torch.rand(3, 3, 16, 16)
    clean, dropped = model(x, lambda features: 0 * features, start=1).split([3, 2])
    own, lost = inner(x, lambda features: 0 * features, start=1).split([3, 2])
    torch.testing.assert_close(clean[:, 1:], own)
    torch.testing.assert_close(dropped[:, 1:], lost)
    assert not clean[:, 0].any()
    encoder, head = parameter_groups(model, 0.1, 10)
    assert {id(p) for p in encoder["params"]} == {id(p) for p in model.network.encoder.parameters()}
    assert head["lr"] == 1


def test_a_frozen_encoder_stays_in_evaluation_mode() -> None:
    inner = SmallClassifier(2, widths=(8,))
    inner.freeze_encoder = True
    model = two_class_network(inner, several=True).train()
    assert (inner.training, inner.encoder.training, model.training) == (True, False, True)


def test_a_plain_network_works_as_well() -> None:
    class Plain(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean((2, 3))

    x = torch.rand(2, 5, 4, 4)
    assert torch.equal(two_class_network(Plain(), several=True)(x)[:, 1], x.mean((2, 3)))
