"""AveragePrecision: values by hand, and those of pycocotools."""

import io
from contextlib import redirect_stdout

import numpy as np
import pytest
import torch
from torch import Tensor

from residual_ssl.tasks.detection import AveragePrecision
from residual_ssl.tasks.detection.average_precision import matched

# Images are added by their boxes here, past what makes boxes of outputs.
pytestmark = pytest.mark.filterwarnings("ignore:The ``compute`` method of metric AveragePrecision")

Image = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def boxes(*rows: tuple[float, float, float, float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32).view(-1, 4)


def measured(images: list[Image], num_classes: int) -> Tensor:
    metric = AveragePrecision(num_classes)
    for image in images:
        metric.add(*image)
    return metric.compute()


def test_by_hand_one_right_one_wrong_one_missed() -> None:
    # Two objects; the surest detection is right, the next is wrong, the third overlaps the second object by IoU .6.
    found = boxes((0, 0, 10, 10), (50, 50, 60, 60), (20, 20, 30, 26))
    truth = boxes((0, 0, 10, 10), (20, 20, 30, 30))
    scores, none = torch.tensor([0.9, 0.8, 0.7]), torch.zeros(2, dtype=torch.bool)
    image = (found, scores, torch.ones(3).long(), truth, torch.ones(2).long(), none)
    by_threshold = measured([image], 2)[:, 0]
    # Up to .60 both are found: precision 1 at 51 recalls, 2/3 at 50. From .65 on one: precision 1 at 51 recalls.
    torch.testing.assert_close(by_threshold[:3], torch.full((3,), (51 + 50 * 2 / 3) / 101))
    torch.testing.assert_close(by_threshold[3:], torch.full((7,), 51 / 101))


def test_an_object_is_found_once_and_a_crowd_counts_neither_way() -> None:
    twice = boxes((0, 0, 10, 10), (0, 0, 10, 10), (100, 0, 110, 10), (120, 0, 130, 10))
    truth = boxes((0, 0, 10, 10), (100, 0, 200, 50))
    outcome = matched(twice, truth, torch.tensor([False, True]))
    assert outcome[:, 0].tolist() == [1, 0, -1, -1]  # an IoU of 1/50 with the crowd, and all of it inside


def test_a_class_without_objects_has_no_precision_and_one_without_detections_has_none() -> None:
    nothing = (boxes(), torch.zeros(0), torch.zeros(0).long())
    image = (*nothing, boxes((0, 0, 4, 4)), torch.tensor([2]), torch.tensor([False]))
    found = measured([image], 4)[0]
    assert found[1] == 0
    assert found[[0, 2]].isnan().all()


def test_images_are_added_up_over_processes_as_in_one() -> None:
    images = [random_image(seed) for seed in range(6)]
    parts = [AveragePrecision(4), AveragePrecision(4)]
    for i, image in enumerate(images):
        parts[i % 2].add(*image)
    both = AveragePrecision(4)
    both.detections = [*parts[0].detections, *parts[1].detections]
    both.objects = parts[0].objects + parts[1].objects
    torch.testing.assert_close(both.compute(), measured(images, 4), equal_nan=True)


def random_image(seed: int) -> Image:
    """Objects, detections near some of them, strays, and a crowd."""
    rng = np.random.default_rng(seed)
    corner, side = rng.uniform(0, 80, (6, 2)), rng.uniform(5, 40, (6, 2))
    truth = np.concatenate([corner, corner + side], 1)
    ids = rng.integers(1, 4, 6)
    near = truth[rng.integers(0, 6, 14)] + rng.normal(0, 1, (14, 4))
    near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
    scores = rng.permutation(14) / 14 + rng.uniform(0, 0.01)
    classes = rng.integers(1, 4, 14)
    crowd = np.arange(6) == 5
    arrays = (near.round(2), scores, classes, truth.round(2), ids, crowd)
    kinds = (torch.float64, torch.float64, torch.int64, torch.float64, torch.int64, torch.bool)
    return tuple(torch.as_tensor(a).to(kind) for a, kind in zip(arrays, kinds, strict=True))  # type: ignore[return-value]


def test_as_pycocotools_measures_it() -> None:
    coco = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    images = [random_image(seed) for seed in range(8)]
    annotations, results = [], []
    for number, (found, scores, classes, truth, ids, crowd) in enumerate(images, start=1):
        for box, k, many in zip(truth.tolist(), ids.tolist(), crowd.tolist(), strict=True):
            sides = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            row = {"id": len(annotations) + 1, "image_id": number, "category_id": k, "bbox": sides}
            annotations.append(row | {"area": sides[2] * sides[3], "iscrowd": int(many)})
        for box, score, k in zip(found.tolist(), scores.tolist(), classes.tolist(), strict=True):
            sides = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            results.append({"image_id": number, "category_id": k, "bbox": sides, "score": score})
    with redirect_stdout(io.StringIO()):
        truth = coco.COCO()
        truth.dataset = {
            "images": [{"id": number} for number in range(1, 9)],
            "categories": [{"id": k} for k in (1, 2, 3)],
            "annotations": annotations,
        }
        truth.createIndex()
        judged = evaluation.COCOeval(truth, truth.loadRes(results), "bbox")
        judged.evaluate()
        judged.accumulate()
    expected = judged.eval["precision"][:, :, :, 0, 2].mean(
        1
    )  # thresholds, recalls, classes; all areas, 100 detections
    own = measured(images, 4)
    assert 0.1 < own.mean() < 0.9
    torch.testing.assert_close(own.double(), torch.from_numpy(expected), atol=1e-6, rtol=0)
