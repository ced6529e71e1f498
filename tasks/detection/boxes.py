"""Boxes out of the outputs of a dense detector, its losses, and pseudo-boxes out of a selection."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import batched_nms, generalized_box_iou_loss, sigmoid_focal_loss

from residual_ssl.runtime.global_batch import mean_count
from residual_ssl.selection import Selection
from residual_ssl.tasks.detection.locations import Locations


class Boxes(NamedTuple):
    """Detected objects of one image, from the surest.

    Attributes:
        boxes: ``(n, 4)``, left, top, right and bottom in pixels.
        scores: ``(n,)`` in [0, 1].
        classes: int64 ``(n,)``, class ids, of which 0 is the background and does not occur.
    """

    boxes: Tensor
    scores: Tensor
    classes: Tensor


def detected(
    logits: Tensor, values: Tensor, overlap: float = 0.6, least: float = 0.05, candidates: int = 1000, most: int = 100
) -> Boxes:
    """The objects that a network finds in an image.

    The score of a place for a class is the root of probability times centerness. Of the ``candidates`` best, those of
    at least ``least`` are thinned out class by class: one that overlaps a better one by more than ``overlap`` (IoU) is
    dropped; ``most`` remain.

    Args:
        logits: ``(K, N)``, the background's first.
        values: ``(5, N)``, boxes and the logit of the centerness.

    Source: FCOS, arXiv 1904.01355, §3; score and numbers as in its released code.
    """
    logits, values = logits.float(), values.float()
    scores = (logits.softmax(0)[1:] * values[4].sigmoid()).sqrt()
    best, place = scores.flatten().topk(min(candidates, scores.numel()))
    best, place = best[best >= least], place[best >= least]
    classes, point = place // scores.shape[1] + 1, place % scores.shape[1]
    boxes = values[:4, point].T
    kept = batched_nms(boxes, best, classes, overlap)[:most]
    return Boxes(boxes[kept], best[kept], classes[kept])


def focal_loss(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """Sigmoid focal loss of logits ``(B, K, N)`` over the background's, for target ids ``(B, N)``.

    Summed, and divided by the number of places with an object.

    Source: arXiv 1708.02002, eq. 5, with α = .25 and γ = 2.
    """
    logits = logits.float()
    known = target != ignore_index
    on = F.one_hot(target.where(known, 0), logits.shape[1]).movedim(-1, 1)[:, 1:].to(logits.dtype)
    loss = sigmoid_focal_loss(logits[:, 1:] - logits[:, :1], on, reduction="none").sum(1)
    total: Tensor = loss.where(known, 0.0).sum()
    return total / mean_count((known & (target > 0)).sum())


def box_loss(values: Tensor, taught: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    """What boxes are off (1 - GIoU) and centerness is off (cross-entropy), at the places of objects; ``(B, 5, N)``.

    Weighted by ``weight`` and divided by the number of objects' places that weigh anything.

    Source: GIoU, arXiv 1902.09630; FCOS, arXiv 1904.01355, §3.2.
    """
    weight = weight.where(label > 0, 0.0).float()
    own, goal = values.float().movedim(1, -1), taught.float().movedim(1, -1)
    boxes = generalized_box_iou_loss(own[..., :4], goal[..., :4], reduction="none")
    middle = F.binary_cross_entropy_with_logits(own[..., 4], goal[..., 4].sigmoid(), reduction="none")
    total: Tensor = ((boxes + middle).where(weight > 0, 0.0) * weight).sum()
    return total / mean_count((weight > 0).sum())


def pseudo_boxes(selection: Selection, locations: Locations, size: tuple[int, ...], overlap: float = 0.6) -> Selection:
    """A selection as the boxes in it teach it: suppressed by each other, then found again from all of their places.

    The selected places that are no background compete by confidence and centerness, class by class; of those that
    overlap by more than ``overlap`` the best remains. Its pseudo-label, weight and box then become those of all
    places that would be its own if it were a label (:meth:`Locations.objects`). A place that was taken for an object
    and belongs to no remaining box teaches nothing; the background stays as it was selected.

    Args:
        selection: of points ``(B, N)``, with values ``(B, 5, N)``.
        locations: of the detector.
        size: (height, width) of its input.
    """
    assert selection.values is not None
    found = selection.label > 0
    score = (selection.confidence * selection.values[:, 4].float().sigmoid()).sqrt()
    source = torch.arange(found.shape[1], device=found.device).repeat(len(found), 1)
    owned = torch.zeros_like(found)
    for i, candidates in enumerate(found & (selection.weight > 0)):
        place = candidates.nonzero().flatten()
        boxes = selection.values[i, :4, place].float().T
        kept = place[batched_nms(boxes, score[i, place].float(), selection.label[i, place], overlap)]
        box = locations.objects(selection.values[i, :4, kept].float().T, size)
        owned[i] = box >= 0
        if len(kept):
            source[i] = torch.where(box >= 0, kept[box.clamp(min=0)], source[i])

    def taken(points: Tensor) -> Tensor:
        index = source if points.dim() == 2 else source.unsqueeze(1).expand(-1, points.shape[1], -1)
        return points.gather(-1, index)

    moved = selection.map(taken)
    taught = (owned | ~found) & selection.valid
    return replace(moved, weight=moved.weight.where(taught, 0.0), trusted=moved.trusted & taught, valid=selection.valid)


def boxes_of(selection: Selection, overlap: float = 0.6, least: float = 0.3) -> tuple[Boxes, Tensor]:
    """The boxes of a selection of batch size 1, and which of them the selector accepts in full, bool ``(n,)``."""
    assert selection.values is not None
    label, values = selection.label[0], selection.values[0].float()
    score = (selection.confidence[0] * values[4].sigmoid()).sqrt()
    place = ((label > 0) & (score >= least)).nonzero().flatten()
    # Accepted ones first: a place that is not accepted suppresses none that is.
    kept = place[batched_nms(values[:4, place].T, score[place] + selection.weight[0, place], label[place], overlap)]
    return Boxes(values[:4, kept].T, score[kept], label[kept]), selection.trusted[0, kept]
