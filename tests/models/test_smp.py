"""Networks of segmentation_models_pytorch as models of the library."""

from pathlib import Path

import pytest
import torch
from helpers.tiny_runs import tiny_config
from torch import nn

from residual_ssl import evaluate, train
from residual_ssl.errors import InvalidInputError
from residual_ssl.models import SMPSegmenter, built_network

smp = pytest.importorskip("segmentation_models_pytorch")


@pytest.mark.parametrize("architecture", ["unet", "fpn", "segformer"])
def test_logits_are_those_of_the_library_where_it_takes_the_image(architecture: str) -> None:
    torch.manual_seed(0)
    own = smp.create_model(architecture, "resnet18", encoder_weights=None, in_channels=3, classes=4).eval()
    network = SMPSegmenter(4, architecture, "resnet18").eval()
    state = {key: value for key, value in own.state_dict().items() if not key.startswith("classification_head")}
    network.load_state_dict(state)
    images = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(network(images), own(images))


def test_images_of_any_size_are_padded_at_right_and_bottom_and_cut_back() -> None:
    network = SMPSegmenter(4, "linknet", "resnet18").eval()
    image = torch.rand(1, 3, 50, 70)
    with torch.no_grad():
        small = network(image)
        padded = network(nn.functional.pad(image, (0, 26, 0, 14), mode="replicate"))
    assert small.shape == (1, 4, 50, 70)
    torch.testing.assert_close(small, padded[:, :, :50, :70])


def test_features_but_the_image_are_perturbed() -> None:
    network = SMPSegmenter(4, "unet", "mit_b0").eval()
    features = network.encode(torch.rand(1, 3, 64, 64))
    changed = [not torch.equal(a, b) for a, b in zip(features, network.perturb(features, lambda f: f + 1), strict=True)]
    sizes = [feature.shape[1] for feature in features]
    first = next(level for level, size in enumerate(sizes) if level and size)
    assert changed == [level in (first, len(features) - 1) for level in range(len(features))]


def test_channels_and_frozen_encoders() -> None:
    network = built_network(
        lambda num_classes, in_channels: SMPSegmenter(
            num_classes, "unet", "resnet18", in_channels=in_channels, freeze_encoder=True
        ),
        3,
        torch.zeros(5, 32, 32),
    )
    assert network(torch.rand(2, 5, 32, 32)).shape == (2, 3, 32, 32)
    assert not any(parameter.requires_grad for parameter in network.encoder.parameters())


def test_what_does_not_exist_is_said() -> None:
    with pytest.raises(InvalidInputError, match="unets on resnet18 cannot be built"):
        SMPSegmenter(4, "unets", "resnet18")
    with pytest.raises(InvalidInputError, match="unet on resnet1800 cannot be built"):
        SMPSegmenter(4, "unet", "resnet1800")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::residual_ssl.errors.ResidualSSLWarning")
def test_trains_with_a_feature_branch_and_is_evaluated_again(tmp_path: Path) -> None:
    choice = ["model=smp", "model.backbone=resnet18", "model.weights=null"]
    result = train(tiny_config(tmp_path / "run", *choice, "algorithm=csl", "steps=2", "evaluate_every=2"))
    assert evaluate(tmp_path / "run", device="cpu")["miou"] == pytest.approx(result.best["miou"])
