"""SmallSegmenter: about 0.9 M parameters, logits of the input's size, a perturbed branch, and it learns."""

import copy

import pytest
import torch
import torch.nn.functional as F

from residual_ssl.errors import InvalidInputError
from residual_ssl.models import SmallSegmenter


@pytest.mark.parametrize("size", [(64, 64), (33, 50), (16, 20), (1, 1)])
def test_logits_have_the_size_of_the_input(size):
    assert SmallSegmenter(11).eval()(torch.zeros(2, 3, *size)).shape == (2, 11, *size)


def test_the_default_network_has_about_nine_hundred_thousand_parameters():
    parameters = sum(parameter.numel() for parameter in SmallSegmenter(11).parameters())
    assert 0.90e6 < parameters < 0.93e6


def test_every_stage_halves_the_size():
    features = SmallSegmenter(5, widths=(8, 16)).encode(torch.zeros(2, 3, 64, 48))
    assert [tuple(feature.shape) for feature in features] == [(2, 8, 32, 24), (2, 8, 16, 12), (2, 16, 8, 6)]


def test_stem_and_last_stage_are_perturbed_and_the_stages_between_are_not():
    torch.manual_seed(0)
    model = SmallSegmenter(5, widths=(8, 16), blocks=1).eval()
    images = torch.randn(3, 3, 24, 24)
    _, perturbed = model(images, lambda feature: feature + 1, start=1).tensor_split([len(images)])
    stem, middle, last = model.encode(images[1:])
    torch.testing.assert_close(perturbed, model.decode([stem + 1, middle, last + 1], (24, 24)))


def test_every_parameter_gets_a_gradient():
    model = SmallSegmenter(5, widths=(8, 16))
    model(torch.randn(2, 3, 32, 32)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_frozen_batchnorm_keeps_the_encoders_statistics():
    model = SmallSegmenter(5, widths=(8, 16), freeze_batchnorm=True).train()
    before = copy.deepcopy(model.encoder.state_dict())
    model(torch.randn(2, 3, 32, 32))
    for key, value in model.encoder.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_a_few_steps_fit_a_mask_at_full_resolution():
    torch.manual_seed(0)
    images = torch.randn(4, 3, 32, 32)
    mask = (images[:, 0] > 0).long()
    model = SmallSegmenter(2, widths=(16, 32), blocks=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(20):
        loss = F.cross_entropy(model(images), mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.85 * losses[0]


@pytest.mark.parametrize("widths", [(), (32, 0)])
def test_widths_without_channels_are_an_error(widths):
    with pytest.raises(InvalidInputError, match="widths: got"):
        SmallSegmenter(5, widths=widths)


def test_no_block_is_an_error():
    with pytest.raises(InvalidInputError, match="blocks: got 0"):
        SmallSegmenter(5, blocks=0)
