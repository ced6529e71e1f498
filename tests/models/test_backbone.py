"""Backbones: weights from files load strictly, and whatever does not fit is listed."""

import re

import pytest
import safetensors.torch
import timm
import torch

from residual_ssl.errors import CheckpointError, InvalidInputError, MissingDataError
from residual_ssl.models import create_backbone, load_backbone_weights


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(0)
    model = timm.create_model("resnet18", num_classes=10)
    model.train()(torch.randn(2, 3, 32, 32))  # statistics that differ from those of a new model
    return model.eval()


@pytest.fixture
def state(classifier):
    return {key: value.clone() for key, value in classifier.state_dict().items()}


def saved(state, path):
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])
def test_weights_of_a_classifier_make_the_backbone_compute_its_features(classifier, state, tmp_path, name):
    backbone = create_backbone("resnet18", weights=saved(state, tmp_path / name)).eval()
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(backbone(images)[-1], classifier.forward_features(images))


def test_weights_of_a_backbone_come_back_from_a_file(tmp_path):
    first, second = (create_backbone("resnet18", output_stride=stride) for stride in (32, 8))
    load_backbone_weights(second, saved(first.state_dict(), tmp_path / "backbone.pth"))
    for key, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[key], value), key


def test_half_precision_is_cast_to_the_dtype_of_the_backbone(state, tmp_path):
    half = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    backbone = create_backbone("resnet18", weights=saved(half, tmp_path / "half.safetensors"))
    assert backbone.conv1.weight.dtype == torch.float32
    assert torch.equal(backbone.conv1.weight, state["conv1.weight"].half().float())


def test_counters_of_batchnorm_may_be_absent(state, tmp_path):
    old = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    backbone = create_backbone("resnet18", weights=saved(old, tmp_path / "old.pth"))
    assert torch.equal(backbone.bn1.running_mean, state["bn1.running_mean"])


def test_a_mismatch_lists_missing_unexpected_and_misshapen_keys_and_loads_nothing(state, tmp_path):
    for key in [key for key in state if key.startswith("layer4.1.")]:
        del state[key]
    state["extra.weight"] = torch.zeros(1)
    state["conv1.weight"] = torch.zeros(64, 3, 3, 3)
    path = saved(state, tmp_path / "other.pth")
    backbone = create_backbone("resnet18")
    before = backbone.conv1.weight.clone()
    with pytest.raises(CheckpointError) as raised:
        load_backbone_weights(backbone, path)
    message = str(raised.value)
    # two convolutions and two BatchNorms of four tensors each
    assert re.search(r"10 missing \(layer4\.1\.conv1\.weight, (\S+, ){4}…\)", message)
    assert "1 unexpected (extra.weight)" in message
    assert "1 of another shape (conv1.weight (64, 3, 3, 3) instead of (64, 3, 7, 7))" in message
    assert torch.equal(backbone.conv1.weight, before)
    assert torch.equal(backbone.bn1.running_mean, torch.zeros(64))


def test_weights_of_another_backbone_do_not_pass(state, tmp_path):
    with pytest.raises(CheckpointError, match=r"does not fit the backbone: \d+ missing"):
        create_backbone("mobilenetv2_100", weights=saved(state, tmp_path / "resnet18.pth"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingDataError, match=r"weights: no file .*absent\.pth; expected"):
        create_backbone("resnet18", weights=tmp_path / "absent.pth")


@pytest.mark.parametrize("name", ["damaged.pth", "damaged.safetensors"])
def test_a_damaged_file_is_a_checkpoint_error(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"not weights")
    with pytest.raises(CheckpointError, match=r"damaged\.\w+ cannot be read"):
        create_backbone("resnet18", weights=path)


def test_a_checkpoint_around_the_state_dict_is_explained(state, tmp_path):
    path = saved({"model": state, "epoch": 3}, tmp_path / "checkpoint.pth")
    with pytest.raises(CheckpointError, match="holds a dict with keys model, epoch, expected a state dict"):
        create_backbone("resnet18", weights=path)


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


@pytest.mark.parametrize("name", ["timm_mobilenetv2_100.safetensors", "timm_mobilenetv2_100_tfsame.safetensors"])
def test_real_mobilenet_weights_load_without_their_classifier(shared_weights, name):
    options = {"pad_type": "same"} if "tfsame" in name else {}
    backbone = create_backbone("mobilenetv2_100", weights=shared_weights / name, options=options).eval()
    full = timm.create_model("mobilenetv2_100", **options).eval()
    full.load_state_dict(safetensors.torch.load_file(shared_weights / name))
    images = torch.randn(1, 3, 64, 64)
    expected = full.blocks(full.bn1(full.conv_stem(images)))
    torch.testing.assert_close(backbone(images)[-1], expected)
