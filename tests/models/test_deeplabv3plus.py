"""DeepLabV3Plus: crops of any size, the asked output stride, UniMatch's decoder, real pretrained weights."""

import pytest
import torch
from torch import nn

from residual_ssl.errors import InvalidInputError
from residual_ssl.models import DeepLabV3Plus


def tiny(**options) -> DeepLabV3Plus:
    """A ResNet-18 with a thin decoder: every path of the model at a small cost."""
    torch.manual_seed(0)
    return DeepLabV3Plus(7, backbone="resnet18", decoder_channels=16, **options)


@pytest.mark.parametrize("size", [(321, 321), (64, 96), (45, 60), (33, 17)])
def test_logits_have_the_size_of_the_crop(size):
    with torch.no_grad():
        assert tiny().eval()(torch.zeros(1, 3, *size)).shape == (1, 7, *size)


@pytest.mark.parametrize("side", [321, 513, 801])
@pytest.mark.parametrize("stride", [8, 16])
def test_published_crops_keep_their_size(side, stride):
    model = tiny(output_stride=stride, backbone_options={"channels": (4, 8, 8, 8)}).eval()
    with torch.no_grad():
        low, high = model.encode(torch.zeros(1, 3, side, side))
        assert low.shape[2:] == (side // 4 + 1, side // 4 + 1)  # a corner more than steps: 321 = 4 · 80 + 1
        assert high.shape[2:] == (side // stride + 1, side // stride + 1)
        assert model.decode([low, high], (side, side)).shape == (1, 7, side, side)


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenetv2_100", "xception65"])
@pytest.mark.parametrize("stride", [8, 16])
def test_features_have_stride_four_and_the_output_stride(backbone, stride):
    with torch.device("meta"):
        model = DeepLabV3Plus(7, backbone=backbone, output_stride=stride, decoder_channels=16).eval()
        low, high = model.encode(torch.zeros(1, 3, 64, 96))
    assert low.shape[2:] == (16, 24)
    assert high.shape[2:] == (64 // stride, 96 // stride)


@pytest.mark.parametrize(("stride", "rates"), [(8, [12, 24, 36]), (16, [6, 12, 18])])
def test_rates_of_the_pyramid_follow_the_output_stride(stride, rates):
    dilations = [branch[0].dilation[0] for branch in tiny(output_stride=stride).aspp.branches]
    assert dilations == [1, *rates]


@pytest.mark.parametrize(
    ("backbone", "low", "high", "width"),
    [
        ("resnet50", 256, 2048, 256),
        ("resnet101s", 256, 2048, 256),
        ("xception65", 256, 2048, 256),
        ("mobilenetv2_100", 24, 320, 128),
    ],
)
def test_default_decoder_is_an_eighth_of_the_backbones_width_and_at_least_128(backbone, low, high, width):
    with torch.device("meta"):
        model = DeepLabV3Plus(21, backbone=backbone)
    assert model.reduce[0].weight.shape == (48, low, 1, 1)
    assert model.aspp.project[0].weight.shape == (width, 5 * width, 1, 1)
    assert model.aspp.branches[1][0].weight.shape == (width, high, 3, 3)
    assert model.fuse[0][0].weight.shape == (width, width + 48, 3, 3)
    assert model.classifier.weight.shape == (21, width, 1, 1)


@pytest.mark.parametrize(
    ("backbone", "stem"), [("resnet50c", [32, 32, 64]), ("resnet101c", [32, 32, 64]), ("resnet101s", [64, 64, 128])]
)
def test_deep_stems_have_three_convolutions(backbone, stem):
    with torch.device("meta"):
        model = DeepLabV3Plus(21, backbone=backbone)
    assert [layer.out_channels for layer in model.encoder.conv1 if isinstance(layer, nn.Conv2d)] == stem


def test_low_and_high_level_features_are_both_perturbed():
    model = tiny().eval()
    images = torch.randn(3, 3, 33, 33)
    with torch.no_grad():
        logits, perturbed = model(images, lambda feature: 0.5 * feature, start=1).tensor_split([len(images)])
        low, high = model.encode(images[1:])
        torch.testing.assert_close(perturbed, model.decode([0.5 * low, 0.5 * high], (33, 33)))
        torch.testing.assert_close(logits, model(images))


def test_pooling_branch_adds_the_mean_of_the_image_at_every_place():
    model = tiny().eval()
    high = torch.randn(2, 512, 3, 4)
    pyramid = model.aspp
    mean = torch.stack([image.flatten(1).mean(1) for image in high])[:, :, None, None]
    image = pyramid.pool(mean) * torch.ones(3, 4)
    expected = pyramid.project(torch.cat([*(branch(high) for branch in pyramid.branches), image], dim=1))
    torch.testing.assert_close(pyramid(high), expected)


def test_every_parameter_gets_a_gradient():
    model = tiny()
    model(torch.randn(2, 3, 33, 33)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_frozen_batchnorm_stays_in_eval_mode_through_training():
    model = tiny(freeze_batchnorm=True).eval().train()
    model(torch.randn(2, 3, 33, 33))
    norms = [module for module in model.encoder.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 20
    assert not any(norm.training for norm in norms)
    assert all(norm.num_batches_tracked == 0 for norm in norms)
    assert model.reduce[1].training


def test_a_single_image_in_train_mode_is_a_clear_error_and_works_in_eval_mode():
    model = tiny()
    with pytest.raises(InvalidInputError, match=r"x: got a batch of 1 in train mode, .*drop_last"):
        model(torch.zeros(1, 3, 64, 64))
    assert model.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 7, 64, 64)


def test_real_mobilenet_weights_tell_images_apart_and_train(shared_weights):
    torch.manual_seed(0)
    model = DeepLabV3Plus(
        5,
        backbone="mobilenetv2_100",
        weights=shared_weights / "timm_mobilenetv2_100.safetensors",
        freeze_batchnorm=True,
        decoder_channels=16,
    )
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    logits, perturbed = model(torch.randn(2, 3, 64, 64), nn.Dropout2d(0.5)).tensor_split([2])
    assert logits.isfinite().all()
    assert perturbed.isfinite().all()
    assert not torch.equal(logits[0], logits[1])
    (logits.square().mean() + perturbed.square().mean()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("stride", [4, 32])
def test_another_output_stride_is_an_error(stride):
    with pytest.raises(InvalidInputError, match=f"output_stride: got {stride}, expected 8 or 16"):
        tiny(output_stride=stride)


def test_a_decoder_without_channels_is_an_error():
    with pytest.raises(InvalidInputError, match="decoder_channels: got 0"):
        DeepLabV3Plus(7, backbone="resnet18", decoder_channels=0)
