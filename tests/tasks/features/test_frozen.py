"""Frozen backbones: features are those of the network, computed once, and a run on them predicts on images."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import residual_ssl
from residual_ssl import compose, train
from residual_ssl.config.components import build
from residual_ssl.data import ImageArrays, read_image
from residual_ssl.engine.records.trained import load_run
from residual_ssl.errors import InvalidInputError
from residual_ssl.runtime import checkpoint
from residual_ssl.runtime.seeds import mixed_seed
from residual_ssl.task import Task
from residual_ssl.tasks.classification import FlipAndCrop
from residual_ssl.tasks.features import FrozenBackbone, FrozenFeatures
from residual_ssl.testing import TaskContract

OPTIONS = {"depth": 1, "embed_dim": 24, "img_size": 16, "patch_size": 8}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RESIDUAL_SSL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def backbone(weights: Path | None = None) -> FrozenBackbone:
    return FrozenBackbone("vit_small_patch16_224", FlipAndCrop(16, padding=4), weights, backbone_options=OPTIONS)


def pictures(count: int = 5) -> Tensor:
    return torch.randint(0, 256, (count, 3, 20, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(7))


def features(images: Tensor, network: FrozenBackbone, **options: Any) -> FrozenFeatures:
    return FrozenFeatures(partial(ImageArrays, images, [0] * len(images), "mine"), network, **options)


def test_features_are_those_of_the_image_and_of_its_weak_augmentations() -> None:
    images, network = pictures(), backbone()
    made = features(images, network, views=3)
    for index, image in enumerate(images):
        draws = [torch.Generator().manual_seed(mixed_seed(0, index, view)) for view in (1, 2)]
        views = [network.weak.plain(image), *(network.weak(image, draw) for draw in draws)]
        expected = network.encode(torch.stack(views))
        torch.testing.assert_close(made[index].image, expected, rtol=1e-3, atol=1e-3)
        assert not torch.allclose(expected[1], expected[2], atol=1e-2)
    assert made[2].name == "mine/000002"
    assert made[2].label == 0


def test_features_are_computed_once_for_the_same_images_weights_and_settings(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, network = pictures(), backbone()
    first = features(images, network, views=2)[3].image
    assert len(list(cache.iterdir())) == 1

    def refuse(*_: Any) -> Tensor:
        raise AssertionError("computed again")

    with monkeypatch.context() as patch:
        patch.setattr(FrozenBackbone, "encode", refuse)
        assert torch.equal(features(images, backbone(), views=2)[3].image, first)
        changed = images.clone()
        changed[4, 0, 0, 0] ^= 1
        for other in (features(changed, network, views=2), features(images, network, views=3)):
            with pytest.raises(AssertionError, match="computed again"):
                other[3]
    weights = tmp_path / "weights.pth"
    state = network.network.state_dict()
    torch.save({name: value + 0.1 for name, value in state.items()}, weights)
    assert not torch.allclose(features(images, backbone(weights), views=2)[3].image, first, atol=1e-2)
    assert len(list(cache.iterdir())) == 2


def test_without_a_cache_nothing_is_written(cache: Path) -> None:
    assert features(pictures(), backbone(), cache=False)[0].image.shape == (1, 24)
    assert not cache.exists()


def test_the_seed_of_the_program_is_left_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    assert backbone().plain(pictures()[0]).shape == (1, 24)
    assert torch.equal(torch.rand(2), expected)


def test_fewer_than_one_view_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="views: got 0"):
        features(pictures(), backbone(), views=0)


def config(root: Path, run_dir: Path, *overrides: str) -> dict[str, Any]:
    """Dark and light images, told apart by any network; grey ones in the pool are of neither class."""
    for split, count in (("train", 8), ("validation", 4)):
        for name, level in (("dark", 30), ("grey", 128), ("light", 220)):
            folder = root / split / name
            folder.mkdir(parents=True, exist_ok=True)
            for index, noise in enumerate(pictures(count)):
                pixels = (level + noise.float() / 16).to(torch.uint8).permute(1, 2, 0).numpy()
                Image.fromarray(pixels).save(folder / f"{index}.png")
    options = ",".join(f"{key}:{value}" for key, value in OPTIONS.items())
    return compose(
        [
            *("dataset=frozen_images", "dataset.path=imagefolder", f"dataset.data_dir='{root}'"),
            *("dataset.classes=[dark,light]", "dataset.strangers=unlabelled", "dataset.split=4", "dataset.views=2"),
            *("dataset.size=16", "dataset.padding=2", "dataset.backbone.name=vit_small_patch16_224"),
            *("dataset.backbone.weights=null", f"++dataset.backbone.backbone_options={{{options}}}"),
            *("device=cpu", "steps=30", "warmup_steps=0", "evaluate_every=30", "optimizer=adamw", "optimizer.lr=0.05"),
            *("labelled_batch=4", "unlabelled_batch=8", f"run_dir='{run_dir}'", *overrides),
        ]
    )


class TestFrozenFeatureTaskContract(TaskContract):
    @pytest.fixture
    def task(self, tmp_path: Path) -> Task:
        made: Task = build(config(tmp_path / "images", tmp_path / "run")["task"], "task")
        return made


@pytest.mark.parametrize("algorithm", ["csl", "fixmatch"])
def test_a_run_on_features_learns_and_predicts_on_images(tmp_path: Path, algorithm: str) -> None:
    settings = config(tmp_path / "images", tmp_path / "run", f"algorithm={algorithm}")
    train(settings)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["last"]["accuracy"] == 100
    run = load_run(tmp_path / "run")
    photo = tmp_path / "images" / "validation" / "light" / "1.png"
    by_hand = run.model(build(settings["task"], "task").backbone.plain(read_image(photo)).unsqueeze(0))
    assert by_hand.argmax().item() == 1
    prediction = residual_ssl.load(tmp_path / "run").predict(photo)
    assert prediction.label.item() == 1
    assert prediction.confidence.item() == pytest.approx(by_hand.softmax(1).max().item(), abs=1e-5)
    saved = checkpoint.load(tmp_path / "run" / "last.pt")["model"]
    assert {tuple(value.shape) for name, value in saved.items() if "weight" in name} == {(2, 24)}, (
        "the backbone is saved"
    )


def test_training_takes_any_view_and_evaluation_the_image_as_it_is(tmp_path: Path) -> None:
    task = build(config(tmp_path / "images", tmp_path / "run")["task"], "task")
    views = task.source.unlabelled[0].image
    drawn = {tuple(task.unlabelled(0)[0, draw]["input"].flatten().tolist()) for draw in range(20)}
    assert drawn == {tuple(view.tolist()) for view in views}
    assert torch.equal(task.validation()[0]["input"], task.source.validation[0].image)
    assert sorted(set(task.source.unlabelled.labels)) == [-1, 0, 1]
