"""freeze_encoder: the rest learns, the encoder neither learns nor drifts, in every model that has the choice."""

import pytest
import torch
from torch import nn

from residual_ssl.models import DPT, DeepLabV3Plus, EncoderDecoder, TimmClassifier

VIT = {"depth": 4, "embed_dim": 48, "num_heads": 3, "img_size": 28, "drop_path_rate": 0.5}


def made(kind: str) -> tuple[EncoderDecoder, torch.Tensor]:
    torch.manual_seed(0)
    if kind == "deeplab":
        return DeepLabV3Plus(3, "resnet10t", freeze_encoder=True, decoder_channels=8), torch.randn(2, 3, 32, 32)
    if kind == "dpt":
        return DPT(3, freeze_encoder=True, backbone_options=VIT), torch.randn(2, 3, 28, 28)
    return TimmClassifier(3, "resnet10t", freeze_encoder=True), torch.randn(2, 3, 32, 32)


@pytest.mark.parametrize("kind", ["deeplab", "dpt", "classifier"])
def test_a_step_changes_the_rest_and_nothing_of_the_encoder(kind: str) -> None:
    model, x = made(kind)
    model.eval().train()
    assert not any(part.training for part in model.encoder.modules())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(2):
        optimiser.zero_grad()
        model(x).square().mean().backward()
        optimiser.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert not any(name.startswith("encoder.") for name in changed)


def test_no_memory_is_kept_for_a_gradient_through_the_encoder() -> None:
    model, x = made("deeplab")
    assert not any(feature.requires_grad for feature in model.train().encode(x))


def test_without_it_the_encoder_learns() -> None:
    model = DeepLabV3Plus(3, "resnet10t", decoder_channels=8).train()
    model(torch.randn(2, 3, 32, 32)).mean().backward()
    assert all(isinstance(p.grad, torch.Tensor) for p in model.encoder.parameters())
    assert any(part.training for part in model.encoder.modules() if isinstance(part, nn.BatchNorm2d))
