"""Average precision of boxes as COCO measures it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchvision.ops import box_area, box_iou

from residual_ssl.tasks.detection.boxes import detected

_THRESHOLDS = torch.linspace(0.5, 0.95, 10, dtype=torch.float64)
_RECALLS = torch.arange(101) / 100


class AveragePrecision(Metric):  # type: ignore[misc]
    """Average precision over classes and IoU thresholds .50, .55, … .95, of all detections of a data set.

    At each threshold, the detections of a class in an image, at most 100 and from the surest, each take the object of
    that class that they overlap most and no surer one has taken. Precision is made monotone and read at 101 recalls. A
    detection in a crowd counts neither way.

    Args:
        num_classes: K, with the background as class 0.

    ``update(output, target, boxes)``: outputs ``(B, K + 5, N)``; targets of places are not looked at; objects float
    ``(B, M, 6)``: left, top, right, bottom, class id, and whether it is a crowd; rows of class -1 are padding. Further
    entries are not looked at. ``compute`` gives ``(10, K - 1)``: thresholds by classes, NaN for those without objects.

    Source: T.-Y. Lin et al., COCO, arXiv 1405.0312, and the evaluation of pycocotools for all areas and 100 detections.
    """

    full_state_update = False

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        # Of each detection: class, score, and at each threshold 1 for right, 0 for wrong, -1 for not counted.
        self.add_state("detections", [], dist_reduce_fx="cat")
        self.add_state("objects", torch.zeros(num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, output: Tensor, target: Tensor, boxes: Tensor, **further: Tensor) -> None:
        for one, truth in zip(output, boxes, strict=True):
            truth = truth[truth[:, 4] >= 0]
            found = detected(one[: self.num_classes], one[self.num_classes :])
            self.add(found.boxes, found.scores, found.classes, truth[:, :4], truth[:, 4].long(), truth[:, 5] > 0)

    def add(self, boxes: Tensor, scores: Tensor, classes: Tensor, truth: Tensor, ids: Tensor, crowd: Tensor) -> None:
        """Add one image: detections ``(n, 4)``, ``(n,)``, ``(n,)`` and objects ``(m, 4)``, ``(m,)``, bool ``(m,)``."""
        self.objects += torch.bincount(ids[~crowd], minlength=self.num_classes)
        for k in torch.unique(classes).tolist():
            order = scores.where(classes == k, -1.0).argsort(descending=True, stable=True)[: (classes == k).sum()][:100]
            own = ids == k
            outcome = matched(boxes[order], truth[own], crowd[own])
            row = torch.stack([torch.full_like(scores[order], k), scores[order]], 1)
            self.detections.append(torch.cat([row, outcome.to(row)], 1))

    def compute(self) -> Tensor:
        rows: Any = self.detections
        rows = torch.cat(rows) if isinstance(rows, list) and rows else rows
        found = torch.full((len(_THRESHOLDS), self.num_classes - 1), torch.nan)
        for k in range(1, self.num_classes):
            total = int(self.objects[k])
            if not total:
                continue
            own = rows[rows[:, 0] == k].cpu() if isinstance(rows, Tensor) else torch.zeros(0, 2 + len(_THRESHOLDS))
            own = own[own[:, 1].argsort(descending=True, stable=True), 2:]
            for t, outcome in enumerate(own.T):
                found[t, k - 1] = precision_over_recalls(outcome[outcome >= 0] == 1, total)
        return found


def matched(boxes: Tensor, truth: Tensor, crowd: Tensor) -> Tensor:
    """What detections ``(n, 4)``, from the surest, find of the objects ``(m, 4)`` of their class; int64 ``(n, 10)``.

    1 an object that is none's yet, 0 nothing, -1 a crowd, bool ``(m,)``; at each of the ten thresholds.
    """
    outcome = torch.zeros(len(boxes), len(_THRESHOLDS), dtype=torch.int64)
    if not len(boxes) or not len(truth):
        return outcome
    boxes, truth, crowd = boxes.double().cpu(), truth.double().cpu(), crowd.cpu()
    overlap = box_iou(boxes, truth)
    # A crowd is met by what lies in it, however large it is.
    shared = torch.minimum(boxes[:, None, 2:], truth[:, 2:]) - torch.maximum(boxes[:, None, :2], truth[:, :2])
    inside = shared.clamp(min=0).prod(-1) / box_area(boxes).clamp(min=1e-12).unsqueeze(1)
    overlap = torch.where(crowd, inside, overlap)
    for t, threshold in enumerate(_THRESHOLDS.tolist()):
        free = ~crowd
        for d in range(len(boxes)):
            mine = overlap[d].where(free, -1.0)
            if mine.max() >= threshold:
                free[len(mine) - 1 - int(mine.flip(0).argmax())] = False  # of equals, the last
                outcome[d, t] = 1
            elif overlap[d].where(crowd, -1.0).max() >= threshold:
                outcome[d, t] = -1
    return outcome


def precision_over_recalls(right: Tensor, total: int) -> float:
    """Mean precision at recalls 0, .01, … 1 of detections, from the surest: bool ``(n,)``, of ``total`` objects.

    Example:
        >>> precision_over_recalls(torch.tensor([True, False, True]), total=2)  # 51 recalls at 1, 50 at 2/3
        0.834983...
    """
    hits = right.cumsum(0).double()
    recall = hits / total
    precision = (hits / torch.arange(1, len(right) + 1)).flip(0).cummax(0).values.flip(0) if len(right) else hits
    place = torch.searchsorted(recall, _RECALLS.double() - 1e-12)
    reached = place < len(right)
    return float(torch.where(reached, precision[place.clamp(max=len(right) - 1)], 0.0).mean()) if len(right) else 0.0
