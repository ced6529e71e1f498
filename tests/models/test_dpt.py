"""DPT: crops of any size, UniMatch V2's layers, widths and decoder, one draw of channels for all four maps."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from residual_ssl.errors import CheckpointError, InvalidInputError
from residual_ssl.models import DPT

TINY = {"depth": 4, "embed_dim": 48, "num_heads": 3, "img_size": 56}


def tiny(**options) -> DPT:
    """Four narrow blocks at ViT-S/14's patch size: maps of 6, 12, 24 and 48 channels, a decoder of 8."""
    torch.manual_seed(0)
    backbone_options = {**TINY, **options.pop("backbone_options", {})}
    return DPT(7, backbone_options=backbone_options, **options)


@pytest.mark.parametrize("size", [(518, 518), (798, 798), (321, 321), (56, 70), (45, 60), (33, 17), (1, 1)])
def test_logits_have_the_size_of_the_crop(size):
    with torch.no_grad():
        assert tiny().eval()(torch.zeros(1, 3, *size)).shape == (1, 7, *size)


@pytest.mark.parametrize(
    ("size", "grid"),
    [((518, 798), (37, 57)), ((513, 801), (37, 57)), ((28, 42), (2, 3)), ((34, 48), (2, 3)), ((35, 6), (3, 1))],
)
def test_the_grid_has_the_nearest_number_of_patches(size, grid):
    with torch.no_grad():
        features = tiny().encode(torch.zeros(1, 3, *size))
    assert [tuple(feature.shape) for feature in features] == [(1, 48, *grid)] * 4


def test_other_sizes_are_resampled_to_whole_patches():
    model, images = tiny().eval(), torch.randn(1, 3, 45, 60)
    resampled = F.interpolate(images, (42, 56), mode="bilinear", align_corners=True)
    for feature, expected in zip(model.encode(images), model.encode(resampled), strict=True):
        torch.testing.assert_close(feature, expected)


@pytest.mark.parametrize(
    ("depth", "blocks"), [(4, [0, 1, 2, 3]), (12, [2, 5, 8, 11]), (24, [4, 11, 17, 23]), (40, [9, 19, 29, 39])]
)
def test_features_are_the_normalised_patch_tokens_of_four_blocks(depth, blocks):
    model = tiny(backbone_options={"depth": depth, "embed_dim": 12}).eval()
    tokens = []
    for block in model.encoder.blocks:
        block.register_forward_hook(lambda *call: tokens.append(call[-1]))
    with torch.no_grad():
        features = model.encode(torch.randn(2, 3, 28, 42))
        for feature, block in zip(features, blocks, strict=True):
            patches = model.encoder.norm(tokens[block])[:, 1:]  # without the class token
            for row in range(2):
                for column in range(3):
                    torch.testing.assert_close(feature[:, :, row, column], patches[:, 3 * row + column])


def test_decoder_fuses_the_maps_from_the_coarsest_to_the_finest():
    model = tiny().eval()
    weight = {key: value.detach() for key, value in model.named_parameters()}
    features = [torch.randn(2, 48, 3, 5) for _ in range(4)]

    def convolve(x, name, **options):
        return F.conv2d(x, weight[f"{name}.weight"], weight.get(f"{name}.bias"), **options)

    def unit(x, name):
        inner = convolve(x.relu(), f"{name}.first", padding=1)
        return x + convolve(inner.relu(), f"{name}.second", padding=1)

    levels = [convolve(feature, f"reassemble.{level}.0") for level, feature in enumerate(features)]
    for level, factor in ((0, 4), (1, 2)):
        name = f"reassemble.{level}.1"
        levels[level] = F.conv_transpose2d(
            levels[level], weight[f"{name}.weight"], weight[f"{name}.bias"], stride=factor
        )
    levels[3] = convolve(levels[3], "reassemble.3.1", stride=2, padding=1)
    levels = [convolve(x, f"reassemble.{level}.2", padding=1) for level, x in enumerate(levels)]
    assert [tuple(x.shape) for x in levels] == [(2, 8, 12, 20), (2, 8, 6, 10), (2, 8, 3, 5), (2, 8, 2, 3)]

    x = torch.zeros_like(levels[3])
    for level, size in ((3, (3, 5)), (2, (6, 10)), (1, (12, 20)), (0, (24, 40))):
        x = x + (levels[level] if level == 3 else unit(levels[level], f"fuse.{level}.adapt"))
        x = F.interpolate(unit(x, f"fuse.{level}.refine"), size, mode="bilinear", align_corners=True)
        x = convolve(x, f"fuse.{level}.project")
    x = convolve(convolve(x, "classifier.0", padding=1).relu(), "classifier.2")
    expected = F.interpolate(x, (45, 67), mode="bilinear", align_corners=True)
    torch.testing.assert_close(model.decode(features, (45, 67)), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("size", "width", "fused", "channels", "millions"),
    [
        ("small", 384, 64, [48, 96, 192, 384], 24.8),
        ("base", 768, 128, [96, 192, 384, 768], 97.5),
        ("large", 1024, 256, [256, 512, 1024, 1024], 335.3),
    ],
)
def test_widths_and_number_of_parameters_are_the_published_ones(size, width, fused, channels, millions):
    with torch.device("meta"):
        model = DPT(21, backbone=f"vit_{size}_patch14_dinov2")
    assert [layers[0].weight.shape for layers in model.reassemble] == [(own, width, 1, 1) for own in channels]
    assert [layers[2].weight.shape for layers in model.reassemble] == [(fused, own, 3, 3) for own in channels]
    assert model.classifier[2].weight.shape == (21, fused, 1, 1)
    # The published figures are those of the same network with a head for depth (Depth Anything V2, arXiv 2406.09414)
    # and with a unit for a level coarser than the coarsest, which nothing runs.
    half = fused // 2
    model.classifier = nn.Sequential(nn.Conv2d(fused, half, 3), nn.Conv2d(half, 32, 3), nn.Conv2d(32, 1, 1))
    unused = 2 * (9 * fused + 1) * fused
    parameters = sum(parameter.numel() for parameter in model.parameters()) + unused
    assert parameters / 1e6 == pytest.approx(millions, abs=0.05)


def test_the_same_channels_are_dropped_from_all_four_maps():
    model, images = tiny(), torch.randn(3, 3, 42, 56)
    features = model.encode(images)
    perturbed = model.perturb(features, nn.Dropout2d(0.5))
    factors = [(new / old).mean(dim=(2, 3)).round() for new, old in zip(perturbed, features, strict=True)]
    assert set(factors[0].flatten().tolist()) == {0.0, 2.0}
    for factor, new, old in zip(factors, perturbed, features, strict=True):
        assert torch.equal(factor, factors[0])
        torch.testing.assert_close(new, factor[:, :, None, None] * old)


def test_both_branches_and_the_perturbed_one_alone():
    model, images = tiny().eval(), torch.randn(3, 3, 33, 47)
    with torch.no_grad():
        logits, perturbed = model(images, lambda feature: 0.5 * feature, start=1).tensor_split([len(images)])
        alone = model(images, lambda feature: 0.5 * feature, start=1, perturbed_only=True)
        expected = model.decode([0.5 * feature for feature in model.encode(images[1:])], (33, 47))
        torch.testing.assert_close(logits, model(images))
    torch.testing.assert_close(perturbed, expected)
    torch.testing.assert_close(alone, expected)


def test_every_parameter_gets_a_gradient():
    model = tiny()
    model(torch.randn(2, 3, 28, 42)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


def test_a_frozen_encoder_learns_nothing_and_the_decoder_does():
    model = tiny(freeze_encoder=True)
    model(torch.randn(2, 3, 28, 42), nn.Dropout2d(0.5), perturbed_only=True).square().sum().backward()
    encoder = {id(parameter) for parameter in model.encoder.parameters()}
    for parameter in model.parameters():
        assert (parameter.grad is None) == (id(parameter) in encoder)


def test_logits_are_finite_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert tiny()(torch.randn(2, 3, 42, 56)).isfinite().all()


def test_weights_of_the_backbone_come_from_a_file_made_for_another_image_size(tmp_path):
    first = tiny(backbone_options={"img_size": 84})
    torch.save(first.encoder.state_dict(), tmp_path / "vit.pth")
    torch.manual_seed(1)
    second = DPT(7, weights=tmp_path / "vit.pth", backbone_options=TINY)
    assert second.encoder.pos_embed.shape == (1, 1 + 4 * 4, 48)
    assert torch.equal(second.encoder.blocks[3].mlp.fc1.weight, first.encoder.blocks[3].mlp.fc1.weight)


def test_weights_of_another_backbone_are_an_error(tmp_path):
    torch.save(tiny(backbone_options={"depth": 5}).encoder.state_dict(), tmp_path / "vit.pth")
    with pytest.raises(CheckpointError, match=r"does not fit the backbone: 14 unexpected \(blocks\.4\."):
        tiny(weights=tmp_path / "vit.pth")


def test_a_convolutional_backbone_is_an_error():
    with pytest.raises(InvalidInputError, match=r"backbone: 'resnet18' .*expected a plain vision transformer"):
        DPT(7, backbone="resnet18")


def test_three_blocks_are_an_error():
    with pytest.raises(
        InvalidInputError, match="backbone: 'vit_small_patch14_dinov2' has 3 blocks, expected at least 4"
    ):
        tiny(backbone_options={"depth": 3})


@pytest.mark.slow
def test_the_published_small_network_runs_at_its_crop():
    model = DPT(21).eval()
    with torch.no_grad():
        perturbed = model(torch.randn(1, 3, 518, 518), nn.Dropout2d(0.5), perturbed_only=True)
    assert perturbed.shape == (1, 21, 518, 518)
    assert perturbed.isfinite().all()
