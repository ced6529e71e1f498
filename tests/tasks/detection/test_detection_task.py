"""Detection: the contract of tasks, targets that follow the geometry, training, files, report, errors."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.task_table import TASKS
from PIL import Image

import residual_ssl
from residual_ssl import compose, evaluate, predict, train
from residual_ssl.commands.report import write_report
from residual_ssl.config.components import build
from residual_ssl.data import BoxSample
from residual_ssl.engine.records.run_log import read_log
from residual_ssl.errors import ConfigError, DataError, InvalidInputError, ResidualSSLError
from residual_ssl.task import Task
from residual_ssl.tasks.detection import FCOS, DetectionTask, DigitBoxes, Locations
from residual_ssl.tasks.detection.samples import evaluation_entries, labelled_entries, unlabelled_entries
from residual_ssl.tasks.segmentation import WeakGeometry
from residual_ssl.testing import TaskContract


def tiny(*overrides: str) -> dict[str, Any]:
    short = ["device=cpu", "steps=3", "evaluate_every=3", "log_every=1", "warmup_steps=0", "trackers=[]"]
    return compose([*TASKS["detection"], *short, "labelled_batch=4", "unlabelled_batch=4", *overrides])


class TestContract(TaskContract):
    @pytest.fixture
    def task(self) -> Task:
        made: Task = build(tiny("dataset.source.validation=4")["task"], "task")
        return made


def squares(*boxes: tuple[int, int, int, int], size: tuple[int, int] = (32, 40)) -> BoxSample:
    """White boxes on black, each of its own class."""
    image = torch.zeros(3, *size, dtype=torch.uint8)
    for left, top, right, bottom in boxes:
        image[:, top:bottom, left:right] = 255
    corners = torch.tensor(boxes, dtype=torch.float32).view(-1, 4)
    return BoxSample(image, corners, torch.arange(len(boxes)), torch.zeros(len(boxes), dtype=torch.bool), "squares")


def test_boxes_follow_the_geometry_of_their_image() -> None:
    # White where the image is bright: the moved box must be the extent of the white pixels in the crop.
    geometry, points = WeakGeometry((48, 36), scale=(0.6, 1.6), flip=0.5), Locations([4])
    seen = 0
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        entries = labelled_entries(squares((8, 6, 24, 18)), generator, geometry, points, -100)
        own = (entries["target"] == 1).nonzero().flatten()
        white = entries["input"].mean(0) > 0.75
        if not len(own) or not white.any():
            continue
        rows, columns = white.any(1).nonzero().flatten(), white.any(0).nonzero().flatten()
        extent = torch.stack([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]).float()
        torch.testing.assert_close(entries["values"][:4, own[0]], extent, atol=1.01, rtol=0)
        seen += 1
    assert seen > 20


def test_a_class_stands_at_the_places_of_its_box_and_padding_has_none() -> None:
    points = Locations([4])
    geometry = WeakGeometry((32, 64), scale=(1, 1), flip=0)
    sample = squares((8, 8, 16, 16), size=(32, 32))
    entries = unlabelled_entries(sample, torch.Generator().manual_seed(0), geometry, points, -100)
    valid, truth = entries["valid"].view(8, 16), entries["truth"].view(8, 16)
    assert valid.sum() == 64
    assert (truth[~valid] == -100).all()
    assert (truth == 1).sum() == 4


def test_a_crowd_is_neither_object_nor_background() -> None:
    sample = squares((8, 8, 16, 16), (0, 0, 32, 32), size=(32, 32))._replace(crowd=torch.tensor([False, True]))
    entries = evaluation_entries(sample, 3, Locations([4]), -100)
    assert sorted(entries["target"].unique().tolist()) == [-100, 1]
    assert entries["boxes"][:, 4:].tolist() == [[1, 0], [2, 1], [-1, -1]]


def test_without_boxes_a_sample_is_for_the_pool_alone() -> None:
    sample = squares((8, 8, 16, 16))._replace(boxes=None, classes=None, crowd=None)
    geometry, generator = WeakGeometry(32), torch.Generator()
    assert set(unlabelled_entries(sample, generator, geometry, Locations([4]), -100)) == {"input", "valid"}
    with pytest.raises(DataError, match="squares: is in the labelled set and its boxes are not known"):
        labelled_entries(sample, generator, geometry, Locations([4]), -100)


@pytest.mark.parametrize("size", [(32, 32), (33, 47)])
@pytest.mark.parametrize(("strides", "backbone"), [((4, 8), None), ((8, 16, 32), None), ((8, 16, 32, 64), "resnet18")])
def test_the_network_gives_each_place_its_box_around_it(
    strides: tuple[int, ...], backbone: str | None, size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    network = FCOS(4, backbone, strides=strides, channels=32, convolutions=1).eval()
    with torch.no_grad():
        output = network(torch.rand(2, 3, *size))
    points = Locations(strides)
    assert output.shape == (2, 4 + 5, points.count(size))
    assert not output[:, 0].any()
    x, y = points.centers(size).unbind(1)
    left, top, right, bottom = output[:, 4:8].unbind(1)
    assert ((left <= x) & (x <= right) & (top <= y) & (y <= bottom)).all()


def test_softmax_is_the_posterior_of_independent_classes_given_at_most_one() -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        output = FCOS(4, strides=(4, 8), channels=32, convolutions=1).eval()(torch.rand(1, 3, 16, 16))
    on = output[0, 1:4].sigmoid()
    alone = torch.stack([on[k] * (1 - on[(k + 1) % 3]) * (1 - on[(k + 2) % 3]) for k in range(3)])
    none = (1 - on).prod(0)
    torch.testing.assert_close(output[0, :4].softmax(0)[1:], alone / (alone.sum(0) + none))


@pytest.mark.parametrize("strides", [(4, 32), (64,), (3, 6)])
def test_levels_that_a_network_does_not_have_are_refused(strides: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInputError, match="strides: got"):
        FCOS(4, strides=strides)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("detection") / "run"
    overrides = ["algorithm=unbiased_teacher", "selector=consistent_teacher", "steps=8", "evaluate_every=4"]
    train(tiny(*overrides, "algorithm.ema_decay=0.5", f"run_dir={folder}"))
    return folder


def test_a_run_with_a_teacher_is_logged_and_evaluated_again_alike(run: Path) -> None:
    rows = [row for row in read_log(run) if "train/loss" in row]
    assert len(rows) == 8
    assert all(math.isfinite(row["train/loss"]) and 0 <= row["train/coverage"] <= 1 for row in rows)
    again = evaluate(run, checkpoint_name="last.pt", device="cpu")
    told = json.loads((run / "result.json").read_text())["last"]
    assert again["ap"] == pytest.approx(told["ap"])


def test_files_are_predicted_as_pictures_with_boxes_whatever_their_size(run: Path, tmp_path: Path) -> None:
    for i, sample in enumerate(DigitBoxes(1, 0, 2, size=48).validation):
        Image.fromarray(sample.image[:, : 48 - 7 * i].permute(1, 2, 0).numpy()).save(tmp_path / f"{i}.png")
    written = predict(run, tmp_path, tmp_path / "out", device="cpu")
    assert [path.name for path in written] == ["0_overlay.png", "1_overlay.png"]
    assert np.array(Image.open(written[0])).ndim == 3
    result = residual_ssl.load(run, device="cpu").predict(tmp_path / "0.png")
    assert result.confidence.shape == (12 * 12 + 6 * 6,)
    assert result.plot().axes


def test_a_report_shows_what_was_detected(run: Path, tmp_path: Path) -> None:
    write_report([run], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "validation 0: overlay" in page
    assert "sample 1: overlay" in page
    assert "draws no pictures" not in page


def test_stored_labels_of_detections_are_refused(run: Path, tmp_path: Path) -> None:
    from residual_ssl.commands.pools.labeller import PoolLabeller

    with pytest.raises(ConfigError, match="predicts more than one class for each image or pixel"):
        PoolLabeller(run, device="cpu")


@pytest.mark.parametrize("choice", ["algorithm=fixmatch selector=hssda", "algorithm=csl", "algorithm=cps"])
def test_boxes_are_mixed_masked_and_taught_by_any_algorithm(choice: str, tmp_path: Path) -> None:
    mix = "mix={_target_: residual_ssl.perturbations.CutMix, probability: 1.0}"
    result = train(tiny(*choice.split(), mix, f"run_dir={tmp_path / 'run'}"))
    assert math.isfinite(result.training["loss"])
    assert 0 <= result.last["ap"] <= 100


def test_a_box_that_is_mixed_in_is_that_of_the_other_image() -> None:
    task: DetectionTask = build(tiny()["task"], "task")
    from residual_ssl.algorithms import InputBranch
    from residual_ssl.perturbations import CutMix

    torch.manual_seed(0)
    inputs = torch.stack([torch.zeros(3, 32, 32), torch.ones(3, 32, 32)])
    count = task.locations.count((32, 32))
    output = torch.zeros(2, task.num_classes + 5, count)
    output[:, task.num_classes :] = torch.arange(2.0).view(2, 1, 1)  # of sample 0 all 0, of sample 1 all 1
    chosen = task.judged(residual_ssl.selection.TrustAll(), output, inputs)
    x, mixed = InputBranch(1.0, view="plain", mix=CutMix(1.0, (0.3, 0.4))).shown(task, inputs, chosen)
    shown = task.locations.at(task.normalisation.undone(x)[:, 0]).round()
    assert 0 < shown[0].mean() < 1
    assert mixed.values is not None
    torch.testing.assert_close(mixed.values[:, 0], shown)


@pytest.mark.slow
def test_detection_is_learned_from_few_boxes(tmp_path: Path) -> None:
    scenes = ["dataset.source.labelled=32", "dataset.source.unlabelled=8", "dataset.source.validation=24"]
    config = compose(
        [
            *("experiment=detection_digits", "algorithm=supervised", "device=cpu", "steps=150", "evaluate_every=150"),
            *(*scenes, f"run_dir={tmp_path / 'run'}", "trackers=[]"),
        ]
    )
    assert train(config).last["ap_50"] > 20


@pytest.mark.parametrize(
    ("classes", "message"), [([], "expected one or more"), (["a", "a"], "different names"), (["background"], "beside")]
)
def test_classes_that_are_none_are_refused(classes: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DetectionTask(classes, lambda: None, FCOS, WeakGeometry(32))  # type: ignore[arg-type, return-value]


def test_classes_must_be_those_of_the_data() -> None:
    task = DetectionTask(["one"], lambda: DigitBoxes(1, 0, 1), FCOS, WeakGeometry(32))
    with pytest.raises(ResidualSSLError, match=r"classes: got \['one'\], and the source has"):
        task.labelled(0)


def test_scenes_have_a_box_around_each_digit_and_depend_on_seed_and_index_alone() -> None:
    from residual_ssl.tasks.segmentation import DigitScenes

    boxes, masks = DigitBoxes(3, 1, 2, seed=5), DigitScenes(3, 0, 2, seed=5)
    for sample, scene in zip((*boxes.labelled, *boxes.validation), (*masks.labelled, *masks.validation), strict=True):
        assert torch.equal(sample.image, scene.image)
        assert sample.boxes is not None
        assert sample.classes is not None
        assert scene.mask is not None
        covered = torch.zeros_like(scene.mask, dtype=torch.bool)
        for (left, top, right, bottom), k in zip(sample.boxes.int().tolist(), sample.classes.tolist(), strict=True):
            inside = scene.mask[top:bottom, left:right] == k + 1
            assert inside.any()
            covered[top:bottom, left:right] = True
        assert covered[scene.mask > 0].all()
    assert torch.equal(DigitBoxes(1, 0, 1, seed=5).labelled[0].image, boxes.labelled[0].image)
    with pytest.raises(ConfigError, match="labelled: got 0"):
        DigitBoxes(labelled=0)
