"""Weights of backbones: files load strictly, and whatever does not fit is listed."""

import re

import pytest
import safetensors.torch
import timm
import torch
import torch.nn.functional as F

from residual_ssl.errors import CheckpointError, MissingDataError
from residual_ssl.models import create_backbone, create_transformer, load_backbone_weights

TINY = {"depth": 2, "embed_dim": 12, "num_heads": 2}


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


@pytest.mark.parametrize("name", ["timm_mobilenetv2_100.safetensors", "timm_mobilenetv2_100_tfsame.safetensors"])
def test_real_mobilenet_weights_load_without_their_classifier(shared_weights, name):
    options = {"pad_type": "same"} if "tfsame" in name else {}
    backbone = create_backbone("mobilenetv2_100", weights=shared_weights / name, options=options).eval()
    full = timm.create_model("mobilenetv2_100", **options).eval()
    full.load_state_dict(safetensors.torch.load_file(shared_weights / name))
    images = torch.randn(1, 3, 64, 64)
    expected = full.blocks(full.bn1(full.conv_stem(images)))
    torch.testing.assert_close(backbone(images)[-1], expected)


def transformer(image_size, **options):
    return create_transformer("vit_small_patch14_dinov2", options={**TINY, "img_size": image_size, **options})


def published(state):
    """As the authors of DINOv2 published theirs: with a token for masked patches."""
    return {**state, "mask_token": torch.zeros(1, 12)}


@pytest.mark.parametrize("form", [dict, published])
def test_weights_of_a_transformer_come_back_from_a_file(tmp_path, form):
    first, second = transformer(56), transformer(56)
    load_backbone_weights(second, saved(form(first.state_dict()), tmp_path / "vit.safetensors"))
    for key, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[key], value), key


@pytest.mark.parametrize("size", [(28, 28), (84, 84), (70, 42)])
def test_position_embeddings_of_another_image_size_are_resampled(tmp_path, size):
    first, second = transformer(56), transformer(size)
    load_backbone_weights(second, saved(first.state_dict(), tmp_path / "vit.pth"))
    grid = first.pos_embed[:, 1:].detach().reshape(1, 4, 4, 12).permute(0, 3, 1, 2)
    rows, columns = size[0] // 14, size[1] // 14
    expected = F.interpolate(grid, (rows, columns), mode="bicubic", antialias=True)
    places = second.pos_embed[:, 1:].reshape(1, rows, columns, 12).permute(0, 3, 1, 2)
    torch.testing.assert_close(places, expected)
    assert torch.equal(second.pos_embed[:, 0], first.pos_embed[:, 0])
    assert torch.equal(second.blocks[1].mlp.fc2.weight, first.blocks[1].mlp.fc2.weight)


def test_published_register_tokens_are_understood_by_a_transformer_with_registers(tmp_path):
    model = create_transformer("vit_small_patch14_reg4_dinov2", options={**TINY, "img_size": 56})
    state = published({key: value.clone() for key, value in model.state_dict().items()})
    tokens, places = torch.randn(1, 4, 12), torch.randn(1, 17, 12)  # the class token has a place there, not in timm
    del state["reg_token"]
    load_backbone_weights(
        model, saved({**state, "register_tokens": tokens, "pos_embed": places}, tmp_path / "registers.pth")
    )
    assert torch.equal(model.reg_token, tokens)
    assert torch.equal(model.cls_token, state["cls_token"] + places[:, :1])
    assert torch.equal(model.pos_embed, places[:, 1:])


def test_register_tokens_do_not_pass_for_a_transformer_without_them(tmp_path):
    model = transformer(56)
    state = {**published(model.state_dict()), "register_tokens": torch.zeros(1, 4, 12)}
    with pytest.raises(CheckpointError, match=r"does not fit the backbone: .*unexpected .*regist"):
        load_backbone_weights(model, saved(state, tmp_path / "registers.pth"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"depth": 3}, r"unexpected \(blocks\.2\.norm1\.weight, "),
        ({"depth": 1}, r"missing \(blocks\.1\.norm1\.weight, "),
        ({"embed_dim": 24}, r"of another shape \(cls_token \(1, 1, 24\) instead of \(1, 1, 12\), "),
    ],
)
def test_weights_of_another_transformer_do_not_pass(tmp_path, options, said):
    path = saved(transformer(28, **options).state_dict(), tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=said):
        load_backbone_weights(transformer(56), path)


def test_weights_of_a_convolutional_network_do_not_pass_for_a_transformer(state, tmp_path):
    with pytest.raises(CheckpointError, match=r"\d+ missing \(cls_token, .*\d+ unexpected \(conv1\.weight, "):
        load_backbone_weights(transformer(56), saved(state, tmp_path / "resnet18.pth"))


def test_weights_of_an_xception_classifier_make_the_backbone_compute_its_features(tmp_path):
    torch.manual_seed(0)
    classifier = timm.create_model("xception41", num_classes=10).eval()
    path = saved(classifier.state_dict(), tmp_path / "xception.safetensors")
    backbone = create_backbone("xception41", weights=path).eval()
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(backbone(images)[-1], classifier.forward_features(images))
