"""Backbones: convolutional ones and vision transformers by their timm names, and clear errors."""

import pytest
import timm
import torch

from residual_ssl.errors import InvalidInputError, MissingDataError
from residual_ssl.models import create_backbone, create_transformer


def test_a_failed_download_suggests_a_local_file(monkeypatch):
    def offline(*args, **kwargs):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(MissingDataError, match=r"no route to host\); give the path of a local \.safetensors"):
        create_backbone("resnet18", weights="imagenet")


def test_an_unknown_name_gets_close_ones():
    with pytest.raises(InvalidInputError, match=r"backbone: got 'resnet_50', .*close ones: .*resnet50"):
        create_backbone("resnet_50")


def test_a_backbone_without_dilation_is_explained():
    with pytest.raises(InvalidInputError, match=r"backbone: 'swin_tiny_patch4_window7_224' cannot be built"):
        create_backbone("swin_tiny_patch4_window7_224", output_stride=8)


@pytest.mark.parametrize("stride", [4, 64])
def test_another_output_stride_is_an_error(stride):
    with pytest.raises(InvalidInputError, match=f"output_stride: got {stride}, expected 8, 16 or 32"):
        create_backbone("resnet18", output_stride=stride)


@pytest.mark.parametrize(("name", "prefix"), [("vit_small_patch14_dinov2", 1), ("vit_small_patch14_reg4_dinov2", 5)])
def test_a_transformer_takes_images_of_any_number_of_patches(name, prefix):
    model = create_transformer(name, options={"depth": 1, "embed_dim": 12, "num_heads": 2, "img_size": 56}).eval()
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 28, 70)).shape == (1, 12)
        assert model.forward_features(torch.zeros(1, 3, 28, 70)).shape == (1, prefix + 10, 12)


def test_the_places_of_patches_matter_at_every_image_size():
    torch.manual_seed(0)
    model = create_transformer("vit_small_patch14_dinov2", options={"depth": 1, "embed_dim": 12, "img_size": 56}).eval()
    patch = torch.randn(1, 3, 14, 14)
    with torch.no_grad():
        tokens = model.forward_features(patch.repeat(1, 1, 3, 5))[0, 1:]
    assert torch.pdist(tokens).min() > 1e-3  # equal patches, fifteen places


@pytest.mark.parametrize(
    "name", ["resnet18", "swin_tiny_patch4_window7_224", "mixer_s16_224", "eva02_tiny_patch14_224"]
)
def test_a_backbone_that_is_no_plain_transformer_is_explained(name):
    with pytest.raises(InvalidInputError, match=f"backbone: '{name}' .*expected a plain vision transformer, e.g. vit"):
        create_transformer(name)


@pytest.mark.parametrize(
    ("create", "name", "weights", "expected"),
    [
        (create_transformer, "vit_small_patch14_dinov2", "imagenet", "dinov2"),
        (create_transformer, "vit_small_patch16_224", "dinov2", "imagenet"),
        (create_backbone, "resnet18", "dinov2", "imagenet"),
    ],
)
def test_pretrained_weights_have_the_name_of_what_they_learned_from(create, name, weights, expected):
    with pytest.raises(
        InvalidInputError, match=rf"weights: got '{weights}' for backbone '{name}', expected '{expected}'"
    ):
        create(name, weights=weights)


def test_pretrained_weights_of_a_transformer_are_those_of_timm(monkeypatch):
    asked = {}

    def create(name, **arguments):
        asked.update(arguments, name=name)
        return created(name, **{**arguments, "pretrained": False})

    created = timm.create_model
    monkeypatch.setattr(timm, "create_model", create)
    create_transformer("vit_small_patch14_dinov2", weights="dinov2", options={"depth": 1})
    assert (asked["name"], asked["pretrained"], asked["depth"]) == ("vit_small_patch14_dinov2", True, 1)
