"""Segmentation of two classes by one logit."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from residual_ssl import compose, predict, train
from residual_ssl.config.components import build
from residual_ssl.errors import ConfigError
from residual_ssl.task import Task
from residual_ssl.testing import TaskContract

SHORT = ["device=cpu", "steps=2", "warmup_steps=0", "labelled_batch=2", "unlabelled_batch=2", "evaluate_every=2"]


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    """Folders of images with a bright square, whose masks are 0 and 1."""
    for subset in ("train", "val"):
        for kind in ("images", "masks"):
            (tmp_path / subset / kind).mkdir(parents=True)
        for i in range(8):
            mask = np.zeros((32, 32), np.uint8)
            mask[i : i + 12, 5:20] = 1
            image = np.random.default_rng(i).integers(0, 90, (32, 32, 3), np.uint8) + 120 * mask[..., None]
            Image.fromarray(image.astype(np.uint8)).save(tmp_path / subset / "images" / f"{i}.png")
            Image.fromarray(mask).save(tmp_path / subset / "masks" / f"{i}.png")
    return ["dataset=folders", f"dataset.root={tmp_path}", "dataset.classes=[ground,square]", "dataset.labelled=4",
            "dataset.geometry.crop=32", "dataset.mask_block=8", "task.one_logit=true",
            "+model.widths=[8,8]"]  # fmt: skip


class TestOneLogit(TaskContract):
    @pytest.fixture
    def task(self, data: list[str]) -> Task:
        made: Task = build(compose(data)["task"], "task")
        return made


def test_a_network_of_one_output_trains_with_feature_perturbation_and_predicts(data: list[str], tmp_path: Path) -> None:
    result = train(compose([*data, *SHORT, "algorithm=csl", f"run_dir={tmp_path / 'run'}"]))
    assert {"iou/ground", "iou/square"} & set(result.last)
    written = predict(tmp_path / "run", tmp_path / "val" / "images" / "0.png", tmp_path / "out")
    assert {path.name for path in written} >= {"0_label.png", "0_overlay.png"}


def test_more_than_two_classes_are_refused(data: list[str]) -> None:
    config = compose([*data, "dataset.classes=[a,b,c]"])
    with pytest.raises(ConfigError, match="one_logit: got true for 3 classes, expected two"):
        build(config["task"], "task")
