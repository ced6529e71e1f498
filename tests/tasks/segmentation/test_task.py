"""SegmentationTask: mean IoU of a data set, views, inference, and unlabelled images without masks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.tiny_runs import tiny_config
from PIL import Image
from torch import Tensor

from residual_ssl import compose, train
from residual_ssl.config.components import build
from residual_ssl.engine.evaluation import evaluate_model
from residual_ssl.errors import DataError, InvalidInputError, MissingDataError
from residual_ssl.tasks.confusion import Confusion
from residual_ssl.tasks.segmentation import Inference, SegmentationTask, intersection_over_union


@pytest.fixture
def task(tmp_path: Path) -> SegmentationTask:
    made: SegmentationTask = build(tiny_config(tmp_path)["task"], "task")
    return made


def folders(root: Path, *, unlabelled_masks: bool = False, size: tuple[int, int] = (40, 48)) -> list[str]:
    """Two classes, six training images of which two have masks, two for validation; overrides of a run on them."""
    rng = np.random.default_rng(0)
    for part, count, masks in (("train", 6, 6 if unlabelled_masks else 2), ("val", 2, 2)):
        (root / part / "images").mkdir(parents=True)
        (root / part / "masks").mkdir()
        for i in range(count):
            mask = np.zeros(size, np.uint8)
            mask[10:30, 10 + i : 30 + i] = 1
            pixels = (mask[..., None] * 120 + rng.integers(0, 90, (*size, 3))).astype(np.uint8)
            Image.fromarray(pixels).save(root / part / "images" / f"{i}.png")
            if i < masks:
                Image.fromarray(mask).save(root / part / "masks" / f"{i}.png")
    return [
        *("dataset=folders", f"dataset.root={root}", "dataset.classes=[ground,thing]", "dataset.labelled=2"),
        *("dataset.geometry.crop=32", "dataset.mask_block=8", "device=cpu", "steps=2", "labelled_batch=2"),
        *("unlabelled_batch=2", "evaluate_every=2", "log_every=1", "evaluation_batch=1", f"run_dir={root / 'run'}"),
    ]


def iou_by_counting(predictions: list[Tensor], targets: list[Tensor], classes: int) -> list[float]:
    """Intersection and union of each class, pixel by pixel, over all images together."""
    both, either = [0] * classes, [0] * classes
    for prediction, target in zip(predictions, targets, strict=True):
        for p, t in zip(prediction.flatten().tolist(), target.flatten().tolist(), strict=True):
            if t == 255:
                continue
            for k in range(classes):
                both[k] += p == k and t == k
                either[k] += p == k or t == k
    return [100 * b / e if e else float("nan") for b, e in zip(both, either, strict=True)]


def test_mean_iou_is_counted_over_the_data_set_without_ignored_pixels(task: SegmentationTask) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn(2, 11, 9, 7, generator=generator) for _ in range(3)]
    for batch in logits:
        batch[:, 10] = -9  # a class that is never predicted and never true
    targets = [torch.randint(0, 10, (2, 9, 7), generator=generator) for _ in range(3)]
    for target in targets:
        target[:, :2] = 255
    metric = task.metric()
    for batch, target in zip(logits, targets, strict=True):
        metric.update(batch, target)
    figures = task.summary(metric.compute())
    expected = iou_by_counting([batch.argmax(1) for batch in logits], targets, 11)
    assert figures["miou"] == pytest.approx(sum(expected[:10]) / 10)
    for name, value in zip(task.class_names[:10], expected, strict=False):
        assert figures[f"iou/{name}"] == pytest.approx(value)
    assert "iou/nine" not in figures


@pytest.mark.parametrize("ignore_index", [255, -1, 3])
def test_a_class_is_the_set_of_its_pixels_among_those_that_are_judged(ignore_index: int) -> None:
    rng = np.random.default_rng(0)
    metric = Confusion(3, ignore_index=ignore_index)
    truth: dict[int, set[tuple[int, ...]]] = {k: set() for k in range(3)}
    found: dict[int, set[tuple[int, ...]]] = {k: set() for k in range(3)}
    for image, (height, width) in enumerate([(5, 7), (1, 9), (8, 3)]):
        logits = rng.normal(size=(3, height, width))
        target = rng.choice([0, 1, 2, ignore_index], size=(height, width))
        metric.update(torch.from_numpy(logits)[None], torch.from_numpy(target)[None])
        for row, column in np.ndindex(height, width):
            if target[row, column] != ignore_index:
                truth[int(target[row, column])].add((image, row, column))
                found[int(logits[:, row, column].argmax())].add((image, row, column))
    expected = [len(truth[k] & found[k]) / len(truth[k] | found[k]) for k in range(3)]
    assert intersection_over_union(metric.compute()).tolist() == pytest.approx(expected)


def test_evaluation_does_not_depend_on_the_batch_or_on_the_share_of_a_process(task: SegmentationTask) -> None:
    torch.manual_seed(0)
    model = task.build_model()
    whole = evaluate_model(task, model, torch.device("cpu"), batch=6)
    single = evaluate_model(task, model, torch.device("cpu"), batch=1)
    assert single == pytest.approx(whole, abs=1e-6)
    assert model.training


def test_the_plain_view_normalises_and_nothing_else(task: SegmentationTask) -> None:
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (task.normalisation.mean, task.normalisation.std))
    expected = (images - mean) / std
    torch.testing.assert_close(task.view(images, "plain"), expected)
    torch.testing.assert_close(task.display(task.view(images, "plain")), images)
    with pytest.raises(InvalidInputError, match=r"view: got 'weak', expected one of plain, strong, light, labelled"):
        task.view(images, "weak")


def test_prediction_at_another_scale_has_the_size_of_the_image(task: SegmentationTask) -> None:
    seen = []

    def model(x: Tensor) -> Tensor:
        seen.append(tuple(x.shape[-2:]))
        return x[:, :1].expand(-1, 11, -1, -1)

    task.inference = Inference(scales=[0.5])
    logits = task.predict(model, torch.rand(1, 3, 41, 64))  # type: ignore[arg-type]
    assert seen == [(20, 32)]
    assert logits.shape == (1, 11, 41, 64)


def test_augmentation_follows_from_the_draw_and_not_from_the_order(task: SegmentationTask) -> None:
    data: Any = task.unlabelled(seed=3)
    first, other = data[2, 7]["input"], data[2, 8]["input"]
    assert torch.equal(data[2, 7]["input"], first)
    assert not torch.equal(first, other)


def test_unlabelled_images_need_no_mask_and_none_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = folders(tmp_path, unlabelled_masks=True)
    # The labelled images are 2 of 6; every other mask is made unreadable.
    source = build(compose(overrides)["task"]["source"])()
    labelled = {Path(source.labelled[i].name).stem for i in range(len(source.labelled))}
    for mask in (tmp_path / "train" / "masks").iterdir():
        if mask.stem not in labelled:
            mask.write_bytes(b"not an image")
    result = train(compose([*overrides, "algorithm=csl"]))
    assert "purity" not in result.training
    assert 0 < result.training["coverage"] < 1


def test_a_data_set_with_few_masks_trains(tmp_path: Path) -> None:
    assert train(compose([*folders(tmp_path), "algorithm=csl"])).last["miou"] > 0


def test_a_label_outside_the_specification_is_named(tmp_path: Path) -> None:
    overrides = folders(tmp_path)
    Image.fromarray(np.full((40, 48), 7, np.uint8)).save(tmp_path / "val" / "masks" / "1.png")
    with pytest.raises(DataError, match=r"masks/1.png: label ids 7 are not in the dataset specification"):
        train(compose([*overrides, "algorithm=supervised"]))


def test_a_mask_of_another_size_is_named(tmp_path: Path) -> None:
    overrides = folders(tmp_path)
    Image.fromarray(np.zeros((40, 47), np.uint8)).save(tmp_path / "val" / "masks" / "0.png")
    with pytest.raises(DataError, match=r"images/0.png is .* and its mask .*masks/0.png"):
        train(compose([*overrides, "algorithm=supervised"]))


def test_a_fault_found_by_a_loading_process_has_its_own_message_alone(tmp_path: Path) -> None:
    overrides = folders(tmp_path)
    for mask in (tmp_path / "train" / "masks").iterdir():
        Image.fromarray(np.full((40, 48), 7, np.uint8)).save(mask)
    with pytest.raises(DataError) as caught:
        train(compose([*overrides, "algorithm=supervised", "workers=1"]))
    assert "label ids 7 are not in the dataset specification" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    overrides = folders(tmp_path)
    with pytest.raises(MissingDataError, match=r"'val/labels' is not a folder in .*; there are: run, train, val"):
        train(compose([*overrides, "dataset.validation.masks=val/labels"]))


@pytest.mark.slow
def test_camvid_trains_evaluates_and_predicts(tmp_path: Path, shared_data: Path) -> None:
    from residual_ssl import evaluate, predict

    overrides = [
        *("experiment=camvid", f"dataset.root={shared_data / 'camvid'}", "model.weights=null", "workers=0"),
        *("algorithm=csl", "steps=1", "warmup_steps=0", "labelled_batch=2", "unlabelled_batch=2", "device=cpu"),
        *("dataset.geometry.crop=[96,128]", "dataset.geometry.scale=[0.25,0.5]", "dataset.inference.scales=[0.125]"),
        *("dataset.mask_block=16", f"run_dir={tmp_path / 'run'}"),
    ]
    result = train(compose(overrides))
    assert 0 < result.training["coverage"] < 1
    assert evaluate(tmp_path / "run", device="cpu")["miou"] == pytest.approx(result.last["miou"])
    image = shared_data / "camvid" / "test" / "0001TP_008550.jpg"
    written = predict(tmp_path / "run", image, tmp_path / "out", device="cpu")
    assert {path.name for path in written} == {
        f"0001TP_008550_{kind}.png" for kind in ("label", "overlay", "confidence", "trust")
    }
    label = np.asarray(Image.open(tmp_path / "out" / "0001TP_008550_label.png"))
    assert label.shape == (360, 480)
    assert label.max() < 11
