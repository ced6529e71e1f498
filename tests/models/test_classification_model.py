"""Classifiers: published sizes, features, and the branch of perturbed features."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from residual_ssl.engine.setup.optimization import parameter_groups
from residual_ssl.errors import ConfigError, InvalidInputError
from residual_ssl.models import ClassificationModel, SmallClassifier, TimmClassifier, WideResNet
from residual_ssl.perturbations import ComplementaryDropout, FeatureDropout

TINY_VIT = {"depth": 3, "embed_dim": 24, "num_heads": 2, "img_size": 16, "patch_size": 4}


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def tiny() -> list[ClassificationModel]:
    return [
        SmallClassifier(5, widths=(8, 16)),
        WideResNet(5, depth=10, width=1),
        WideResNet(5, depth=10, width=1, stages=4, first_stride=2),
        TimmClassifier(5, backbone_options=TINY_VIT),
    ]


@pytest.mark.parametrize("model", tiny(), ids=["small", "wide", "wide_4", "timm"])
def test_a_classifier_is_its_head_after_its_features(model: ClassificationModel) -> None:
    model.eval()
    x = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    (features,) = model.encode(x)
    assert features.shape == (4, model.feature_dim)
    assert model.head(features).shape == (4, 5)
    torch.testing.assert_close(model(x), model.head(features))
    assert len(model(x).unique(dim=0)) == 4


@pytest.mark.parametrize("dropout", [FeatureDropout(0.5), ComplementaryDropout(1.0)], ids=["channels", "complementary"])
def test_feature_vectors_are_dropped(dropout: nn.Module) -> None:
    model = SmallClassifier(5, widths=(8, 64)).eval()
    seen: list[Tensor] = []

    def watched(features: Tensor) -> Tensor:
        seen.append(dropout(features))
        return seen[-1]

    torch.manual_seed(0)
    x = torch.randn(6, 3, 8, 8)
    logits, perturbed = model(x, watched, 2).tensor_split([len(x)])
    assert seen[0].shape == (4, 64)
    assert 0.3 < (seen[0] == 0).float().mean() < 0.9
    torch.testing.assert_close(logits, model(x))
    torch.testing.assert_close(perturbed, model.head(seen[0]))
    only = model(x[2:], lambda features: seen[0], perturbed_only=True)
    torch.testing.assert_close(only, perturbed)


# Wide residual networks with bias in their convolutions, counted layer by layer.
@pytest.mark.parametrize(("width", "stages", "stride"), [(2, 3, 1), (8, 3, 1), (2, 4, 2)])
def test_wide_resnets_have_the_published_layers(width: int, stages: int, stride: int) -> None:
    def convolution(narrow: int, wide: int, side: int) -> int:
        return narrow * wide * side**2 + wide

    widths = [16, *(16 * width * 2**stage for stage in range(stages))]
    expected = convolution(3, 16, 3)
    for narrow, wide in pairwise(widths):
        expected += 2 * narrow + convolution(narrow, wide, 3) + 2 * wide + convolution(wide, wide, 3)
        expected += convolution(narrow, wide, 1)
        expected += 3 * (2 * wide + convolution(wide, wide, 3) + 2 * wide + convolution(wide, wide, 3))
    expected += 2 * widths[-1] + widths[-1] * 10 + 10
    with torch.device("meta"):
        model = WideResNet(10, depth=28, width=width, stages=stages, first_stride=stride)
    assert parameters(model) == expected
    assert model.feature_dim == widths[-1]


def test_wrn_28_2_has_one_and_a_half_million_parameters() -> None:
    assert parameters(WideResNet(10)) == pytest.approx(1.47e6, rel=0.005)


def test_a_transformer_learns_faster_towards_its_head() -> None:
    model = TimmClassifier(5, backbone_options=TINY_VIT)
    groups = parameter_groups(model, 0.1, 1.0, layer_decay=0.5)
    rate = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert sorted(rate) == sorted(id(p) for p in model.parameters())
    assert sum(len(group["params"]) for group in groups) == len(rate)
    of = {name: rate[id(p)] for name, p in model.named_parameters()}
    assert of["head.weight"] == 0.1
    blocks = [of[f"encoder.blocks.{i}.mlp.fc1.weight"] for i in range(3)]
    assert [later / earlier for earlier, later in pairwise(blocks)] == pytest.approx([2, 2])
    assert of["encoder.patch_embed.proj.weight"] == pytest.approx(blocks[0] / 2)


def test_layer_decay_without_layers_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"layer_decay: got 0.5 for WideResNet"):
        parameter_groups(WideResNet(5, depth=10, width=1), 0.1, 1.0, layer_decay=0.5)


def test_choices_out_of_range_are_named() -> None:
    model = SmallClassifier(5, widths=(8,))
    x = torch.zeros(2, 3, 8, 8)
    with pytest.raises(InvalidInputError, match=r"start: got 2, expected an index in \[0, 2\)"):
        model(x, nn.Dropout(0.5), 2)
    with pytest.raises(InvalidInputError, match=r"perturbed_only: got True without a perturbation"):
        model(x, perturbed_only=True)
    with pytest.raises(InvalidInputError, match=r"num_classes: got 0, expected at least 2"):
        SmallClassifier(0)
    with pytest.raises(InvalidInputError, match=r"depth: got 27, expected 6·blocks \+ 4"):
        WideResNet(5, depth=27)
    with pytest.raises(InvalidInputError, match=r"widths: got \(\), expected one or more"):
        SmallClassifier(5, widths=())
    with pytest.raises(InvalidInputError, match=r"backbone: got 'vit_smal'"):
        TimmClassifier(5, "vit_smal")


def test_frozen_batchnorm_stays_as_it_is_and_the_rest_trains() -> None:
    options = {"layers": [1, 1, 1, 1]}
    for frozen in (False, True):
        model = TimmClassifier(5, "resnet18", backbone_options=options, freeze_batchnorm=frozen).train()
        before = model.encoder.bn1.running_mean.clone()
        model(torch.randn(4, 3, 32, 32))
        assert torch.equal(model.encoder.bn1.running_mean, before) == frozen
        assert model.training
        assert model.encoder.bn1.weight.requires_grad
