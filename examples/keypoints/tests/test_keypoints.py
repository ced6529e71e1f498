"""KeypointTask: the contract of all tasks, geometry, metric, data, training, prediction."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from residual_ssl_keypoints import CocoKeypoints, DigitExtremes, KeypointMetric, KeypointSample, KeypointTask, located

from residual_ssl import compose, load, predict, train
from residual_ssl.errors import ConfigError, DataError, MissingDataError
from residual_ssl.models import SmallSegmenter
from residual_ssl.perturbations import Photometric
from residual_ssl.tasks.segmentation import WeakGeometry
from residual_ssl.testing import TaskContract

SHORT = ["device=cpu", "trackers=[]", "evaluation_batch=100", "warmup_steps=0"]


def small_task(**changes: Any) -> KeypointTask:
    given = {
        "names": DigitExtremes.names,
        "source": lambda: DigitExtremes(4, 4, 4),
        "model": lambda num_classes: SmallSegmenter(num_classes, [8, 16]),
        "geometry": WeakGeometry(32, (0.9, 1.1)),
        "strong": Photometric(),
    }
    return KeypointTask(**{**given, **changes})


class TestContract(TaskContract):
    @pytest.fixture
    def task(self) -> KeypointTask:
        return small_task()


def marked(points: list[tuple[int, int]], size: int = 32) -> KeypointSample:
    """A red pixel block at the left keypoint and a blue one at the right, on black."""
    image = torch.zeros(3, size, size, dtype=torch.uint8)
    for channel, (x, y) in zip((0, 2), points, strict=True):
        image[channel, y - 1 : y + 2, x - 1 : x + 2] = 255
    middle = torch.tensor(points, dtype=torch.float32) + 0.5
    return KeypointSample(image, middle, torch.ones(2, dtype=torch.bool), torch.tensor([20.0, 20.0]), "marked")


def test_keypoints_follow_the_geometry_and_a_flip_exchanges_left_and_right() -> None:
    task = small_task(names=["left_end", "right_end"], geometry=WeakGeometry(32, (0.8, 1.25)), radius=1.0)
    flips = 0
    for seed in range(30):
        entries = task._learned(marked([(12, 14), (19, 20)]), torch.Generator().manual_seed(seed))
        image, target = entries["input"], entries["target"]
        for channel in (0, 2):
            strength = (image[channel] - image[1]).clamp(min=0)
            if strength.max() < 0.5:
                continue
            place = divmod(int(strength.argmax()), 32)
            near = target[max(0, place[0] - 2) : place[0] + 3, max(0, place[1] - 2) : place[1] + 3]
            seen = set(near.unique().tolist()) - {0, 255}
            flipped = seen == ({2} if channel == 0 else {1})
            flips += flipped
            assert flipped or seen == ({1} if channel == 0 else {2})
    assert 10 < flips < 50


def test_a_place_is_the_middle_of_its_peak() -> None:
    logits = torch.full((1, 3, 16, 16), -9.0)
    logits[:, 0] = 0
    logits[0, 1, 4, 3:6], logits[0, 2, 8:10, 12] = 9.0, 4.0
    logits[0, 1, 15, 15] = 8.0  # another peak, not as high, and far away
    places, sure = located(logits)
    torch.testing.assert_close(places[0], torch.tensor([[4.5, 4.5], [12.5, 9.0]]), atol=1e-3, rtol=0)
    assert sure[0, 0] > sure[0, 1] > 0.9


def test_the_metric_by_hand() -> None:
    logits = torch.full((1, 3, 20, 20), -9.0)
    logits[:, 0] = 0
    logits[0, 1, 5, 5], logits[0, 2, 10, 10] = 9.0, 9.0
    metric = KeypointMetric([0.1, 0.1])
    # 1.5 off, of 2 allowed; the other is not visible.
    told = torch.tensor([[[5.5, 7.0, 1, 10, 20], [0.0, 0.0, 0, 10, 20]]])
    metric.update(logits, torch.zeros(1, 20, 20), told)
    found, alike, visible = metric.compute().sum(0).tolist()
    assert (found, visible) == (1, 1)
    assert alike == pytest.approx(math.exp(-(1.5**2) / (2 * 200 * 0.2**2)), rel=1e-3)
    task = small_task(names=["a", "b"])
    assert task.summary(metric.compute()) == pytest.approx({"pck": 100, "oks": 100 * alike, "pck/a": 100}, rel=1e-3)


def test_extremes_are_those_of_the_ink() -> None:
    source = DigitExtremes(6, 0, 2, seed=3)
    for sample in (*source.labelled, *source.validation):
        points = sample.points
        assert points is not None
        assert points[0, 1] == points[:, 1].min()
        assert points[1, 1] == points[:, 1].max()
        assert points[2, 0] == points[:, 0].min()
        assert points[3, 0] == points[:, 0].max()
        assert sample.sides is not None
        extent = torch.stack([points[1, 1] - points[0, 1], points[3, 0] - points[2, 0]])
        torch.testing.assert_close(sample.sides, extent + 1)
    with pytest.raises(ConfigError, match="together at most 1400"):
        DigitExtremes(1000, 1000)


def test_it_is_an_experiment_that_learns_and_predicts_files(tmp_path: Path) -> None:
    run = tmp_path / "run"
    overrides = ["experiment=keypoints_digits", "algorithm=fixmatch", "selector=hssda", "steps=40", "evaluate_every=40"]
    sizes = [
        "dataset.source.unlabelled=40",
        "dataset.source.validation=40",
        "+model.widths=[16,32]",
        "optimizer.lr=0.01",
    ]
    result = train(compose([*overrides, *sizes, *SHORT, f"run_dir={run}"]))
    assert result.last["pck"] > 20  # a disc of that size, placed at random, finds 2 per cent
    for i, sample in enumerate(DigitExtremes(1, 0, 2).validation):
        Image.fromarray(sample.image.movedim(0, -1).numpy()).resize((50, 40)).save(tmp_path / f"{i}.png")
    written = predict(run, [tmp_path / "0.png", tmp_path / "1.png"], tmp_path / "out", device="cpu")
    assert [path.name for path in written] == ["0_overlay.png", "1_overlay.png"]
    assert load(run, device="cpu").predict(tmp_path / "0.png").label.shape == (32, 32)


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    annotations = []
    for number in range(3):
        keypoints = [20, 30, 2, 0, 0, 0] if number else [20, 30, 2, 35, 20, 1]
        annotations.append({"id": number, "image_id": 0, "bbox": [10, 10, 40, 40], "keypoints": keypoints})
    annotations.append({"id": 9, "image_id": 0, "bbox": [0, 0, 5, 5], "keypoints": [0] * 6})  # nothing is labelled
    whole = {
        "images": [{"id": 0, "file_name": "a.png"}],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "thing", "keypoints": ["left", "right"]}],
    }
    image = torch.zeros(60, 80, 3, dtype=torch.uint8)
    image[30, 20] = 255
    for part in ("train", "val"):
        (tmp_path / part).mkdir()
        Image.fromarray(image.numpy()).save(tmp_path / part / "a.png")
        (tmp_path / f"{part}.json").write_text(json.dumps(whole))
    return tmp_path


def paths(part: str) -> dict[str, str]:
    return {"images": part, "annotations": f"{part}.json"}


def test_objects_of_coco_are_cut_out_with_their_keypoints(coco: Path) -> None:
    source = CocoKeypoints(coco, ["left", "right"], paths("train"), paths("val"), labelled=1, size=(100, 100))
    assert [len(part) for part in (source.labelled, source.unlabelled, source.validation)] == [1, 2, 3]
    assert source.unlabelled[0].points is None
    sample = source.validation[0]
    assert sample.image.shape == (3, 100, 100)
    assert sample.points is not None
    assert sample.visible is not None
    assert sample.visible.tolist() == [True, True]
    assert source.validation[1].visible.tolist() == [True, False]  # type: ignore[union-attr]
    bright = divmod(int(sample.image[0].float().argmax()), 100)
    torch.testing.assert_close(sample.points[0], torch.tensor([bright[1], bright[0]]) + 0.5, atol=1.0, rtol=0)
    torch.testing.assert_close(sample.sides, torch.tensor([80.0, 80.0]))


def test_what_is_not_cocos_is_refused(coco: Path) -> None:
    with pytest.raises(ConfigError, match="names: got"):
        CocoKeypoints(coco, ["left"], paths("train"), paths("val"), labelled=1)
    with pytest.raises(MissingDataError, match="no such file"):
        CocoKeypoints(coco, ["left", "right"], paths("nowhere"), paths("val"), labelled=1)
    (coco / "train.json").write_text('{"images": []}')
    with pytest.raises(DataError, match="not COCO's keypoints"):
        CocoKeypoints(coco, ["left", "right"], paths("train"), paths("val"), labelled=1)


def test_names_must_be_those_of_the_data() -> None:
    with pytest.raises(ConfigError, match="and the source has"):
        small_task(names=["a", "b"]).labelled(0)
    with pytest.raises(ConfigError, match="a sigma each"):
        small_task(sigmas=[0.1])
