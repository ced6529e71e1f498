"""Places out of heat maps, and how good they are."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

_REACH = 4.0  # pixels around a peak that belong to it


def located(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The places of L keypoints and how sure they are, out of heat maps ``(B, L + 1, H, W)``.

    A place is the middle of the peak: of the pixels around the largest probability that have at least half of it, each
    by its probability.

    Returns:
        x and y in pixels from the upper left corner, ``(B, L, 2)``, and the largest probability, ``(B, L)``.
    """
    maps = logits.float().softmax(1)[:, 1:]
    height, width = maps.shape[2:]
    y, x = (torch.arange(side, device=maps.device) + 0.5 for side in (height, width))
    peak, at = maps.flatten(2).max(2)
    near = (y.unsqueeze(1) - y[at // width][..., None, None]).square() + (x - x[at % width][..., None, None]).square()
    weight = maps.where((maps >= peak[..., None, None] / 2) & (near <= _REACH**2), 0.0)
    total = weight.sum((2, 3))
    places = torch.stack([(weight * x).sum((2, 3)), (weight * y.unsqueeze(1)).sum((2, 3))], -1) / total.unsqueeze(-1)
    return places, peak


class KeypointMetric(Metric):
    """PCK and OKS over the visible keypoints of a data set.

    Args:
        sigmas: σ of each keypoint: how far annotators lie from each other, as a share of the root of the object's area.
        share: of the object's longer side within which a keypoint is found.

    ``update(output, target, keypoints)``: heat maps ``(B, L + 1, H, W)``; targets are not looked at; of each keypoint
    x, y, whether it is visible, height and width of the object, ``(B, L, 5)``. ``compute`` gives ``(L, 3)``: found,
    similarities summed up, visible.

    Source: PCK, Y. Yang and D. Ramanan, TPAMI 2013; OKS, ``exp(-d² / 2 s² (2σ)²)``, as COCO's evaluation has it.
    """

    full_state_update = False

    def __init__(self, sigmas: Sequence[float], share: float = 0.1) -> None:
        super().__init__()
        self.sigmas, self.share = torch.tensor(sigmas), share
        self.add_state("sums", torch.zeros(len(sigmas), 3, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, output: Tensor, target: Tensor, keypoints: Tensor) -> None:
        places, _ = located(output)
        visible, sides = keypoints[..., 2] > 0, keypoints[..., 3:]
        distance = (places - keypoints[..., :2]).norm(dim=-1)
        found = distance <= self.share * sides.amax(-1)
        spread = sides.prod(-1) * (2 * self.sigmas.to(sides)) ** 2
        alike = (-distance.square() / (2 * spread).clamp(min=1e-9)).exp()
        counted = torch.stack([found & visible, alike.where(visible, 0.0), visible], -1)
        self.sums += counted.double().sum(0)

    def compute(self) -> Tensor:
        return self.sums
