"""Networks of transformers as models of the library, made from configurations alone: nothing is downloaded."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_runs import tiny_config, tiny_digits
from torch import nn

from residual_ssl import evaluate, load, train
from residual_ssl.errors import InvalidInputError, MissingDataError
from residual_ssl.models import HuggingFaceNetwork, built_network

transformers = pytest.importorskip("transformers")

SEGFORMER = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 24, 32], "num_attention_heads": [1, 1, 2, 2],
             "decoder_hidden_size": 16}  # fmt: skip
TOKENS = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 64}
NETWORKS: list[tuple[str, str, dict[str, Any]]] = [
    ("segmentation", "segformer", SEGFORMER),
    ("segmentation", "beit", {**TOKENS, "num_hidden_layers": 4, "out_indices": [1, 2, 3, 4], "pool_scales": [1, 2]}),
    ("classification", "vit", TOKENS),
    ("classification", "dinov2", {**TOKENS, "patch_size": 16}),
    ("classification", "resnet", {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 24, 32], "embedding_size": 8}),
]


@pytest.mark.parametrize(("kind", "architecture", "config"), NETWORKS)
def test_features_decoded_are_the_logits_and_perturbed_ones_are_others(
    kind: str, architecture: str, config: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    network = HuggingFaceNetwork(4, kind, architecture, config=config).eval()
    images = torch.rand(3, 3, 64, 64)
    with torch.no_grad():
        logits = network(images)
        assert logits.shape == ((3, 4, 64, 64) if kind == "segmentation" else (3, 4))
        torch.testing.assert_close(network(images, nn.Identity(), 1), torch.cat([logits, logits[1:]]))
        half = network(images, lambda feature: 0.5 * feature, perturbed_only=True)
        torch.testing.assert_close(network(images), logits)  # nothing is left behind
    assert not torch.allclose(half, logits, atol=1e-5)
    own = network._network
    assert len(network.state_dict()) == len(own.state_dict())  # each tensor once
    assert len(list(network.parameters())) == len(list(own.parameters()))


def test_tokens_are_shown_to_perturbations_with_channels_second() -> None:
    network = HuggingFaceNetwork(4, "classification", "vit", config=TOKENS)
    (feature,) = network.encode(torch.rand(2, 3, 64, 64))
    assert feature.shape[:2] == (2, 24)


def test_logits_are_those_of_the_library_enlarged_and_weights_of_a_folder_are_kept(tmp_path: Path) -> None:
    own = transformers.SegformerForSemanticSegmentation(transformers.SegformerConfig(**SEGFORMER, num_labels=7)).eval()
    own.save_pretrained(tmp_path / "weights")
    network = HuggingFaceNetwork(7, weights=str(tmp_path / "weights")).eval()
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = nn.functional.interpolate(own(images).logits, (64, 64), mode="bilinear")
        torch.testing.assert_close(network(images), expected)
    other = HuggingFaceNetwork(3, weights=str(tmp_path / "weights"))
    assert torch.equal(other.encoder.state_dict()[key := next(iter(own.segformer.state_dict()))],
                       own.segformer.state_dict()[key])  # fmt: skip


@pytest.mark.parametrize(("kind", "architecture", "config"), [NETWORKS[0], NETWORKS[2]])
def test_five_channels(kind: str, architecture: str, config: dict[str, Any]) -> None:
    def made(num_classes: int, in_channels: int = 3) -> nn.Module:
        return HuggingFaceNetwork(num_classes, kind, architecture, config=config, in_channels=in_channels)

    assert len(built_network(made, 4, torch.zeros(5, 64, 64))(torch.rand(2, 5, 64, 64))) == 2


def test_what_does_not_exist_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="got neither architecture nor weights"):
        HuggingFaceNetwork(4)
    with pytest.raises(InvalidInputError, match="'segforma' cannot be built for segmentation"):
        HuggingFaceNetwork(4, architecture="segforma")
    with pytest.raises(InvalidInputError, match="'bert' cannot be built for segmentation"):
        HuggingFaceNetwork(4, architecture="bert")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingDataError, match="cannot be had"):
        HuggingFaceNetwork(4, weights=str(tmp_path / "empty"))


def test_weights_that_would_have_to_be_unpickled_or_bring_code_are_refused(tmp_path: Path) -> None:
    own = transformers.SegformerForSemanticSegmentation(transformers.SegformerConfig(**SEGFORMER, num_labels=4))
    own.save_pretrained(tmp_path / "weights")
    (tmp_path / "weights" / "model.safetensors").unlink()
    torch.save(own.state_dict(), tmp_path / "weights" / "pytorch_model.bin")
    with pytest.raises(MissingDataError, match="cannot be used for segmentation"):
        HuggingFaceNetwork(4, weights=str(tmp_path / "weights"))
    config = json.loads((tmp_path / "weights" / "config.json").read_text())
    code = tmp_path / "weights" / "evil.py"
    code.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass C: pass\n")
    strange = {**config, "model_type": "strange", "auto_map": {"AutoConfig": "evil.C"}}
    (tmp_path / "weights" / "config.json").write_text(json.dumps(strange))
    with pytest.raises(MissingDataError):
        HuggingFaceNetwork(4, weights=str(tmp_path / "weights"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.filterwarnings("ignore::residual_ssl.errors.ResidualSSLWarning")
def test_a_run_from_weights_is_whole_without_them(tmp_path: Path) -> None:
    own = transformers.SegformerForSemanticSegmentation(transformers.SegformerConfig(**SEGFORMER, num_labels=150))
    own.save_pretrained(tmp_path / "weights")
    choice = ["model=hf", f"model.weights='{tmp_path / 'weights'}'", "algorithm=csl", "steps=2", "evaluate_every=2"]
    config = tiny_config(tmp_path / "run", *choice)
    result = train(config)
    assert train(config).best == result.best  # a finished run of the same settings
    shutil.rmtree(tmp_path / "weights")
    assert evaluate(tmp_path / "run", device="cpu")["miou"] == pytest.approx(result.best["miou"])
    shared = load(tmp_path / "run", device="cpu").save_pretrained(tmp_path / "shared")
    image = torch.rand(3, 64, 64)
    assert torch.equal(load(shared, device="cpu").predict(image).label, load(tmp_path / "run").predict(image).label)


@pytest.mark.filterwarnings("ignore::residual_ssl.errors.ResidualSSLWarning")
def test_classifiers_train_with_an_averaged_teacher(tmp_path: Path) -> None:
    made = tiny_digits(tmp_path / "run", "algorithm=mean_teacher")
    made["task"]["model"] = {
        "_target_": "residual_ssl.models.HuggingFaceNetwork",
        "_partial_": True,
        "kind": "classification",
        "architecture": "vit",
        "config": {**TOKENS, "num_hidden_layers": 1, "image_size": 8, "patch_size": 4},
    }
    result = train(made)
    assert evaluate(tmp_path / "run", device="cpu")["accuracy"] == pytest.approx(result.best["accuracy"])
