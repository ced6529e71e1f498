"""Selection of whole images: those on which earlier states of the teacher agree with its last."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.runtime.arguments import Count, PositiveShare, checked
from residual_ssl.selection.features import JudgedPoints, judged_points
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector


class STPlusPlusSelector(Selector):
    """Trust every point of the images whose predictions changed least while the teacher learned.

    Formula: ``w = 1[s ranks among the first share·W of the last W images]``, all points of an image alike; stability
    ``s = mean_j mIoU(y_j, y)``, the agreement of the labels of J earlier states with those of the last, as mean IoU
    over the classes that either predicts; share = .5, W = 4096

    State: the last W stabilities, of all processes.

    Cost: a confusion matrix for each image and earlier state, and a comparison of each image with the window.

    Use: in self-training with a teacher that has finished, to begin with the images that it has settled on.

    Source: ST++, arXiv 2106.05095, §3.3, which ranks the whole unlabelled set once, as
    :class:`residual_ssl.algorithms.ReliableImages` does; a window as long as that, once full, comes near.

    Args:
        share: share of images to trust, in (0, 1].
        window: W, images that the share refers to, these of the batch included.

    Args of ``forward``:
        logits, valid: as :class:`Selector`.
        earlier: logits of the earlier states, ``(J, B, K, *S)``, J ≥ 1.

    Raises:
        InvalidInputError: a share outside (0, 1], an empty window; earlier predictions of another shape.

    Example:
        >>> import torch
        >>> last = torch.tensor([[[9.0, 9.0], [0.0, 0.0]], [[9.0, 9.0], [0.0, 0.0]]])  # two images of two points
        >>> earlier = torch.stack([last[0], last[1].flip(0)]).unsqueeze(0)  # the second image was seen otherwise
        >>> STPlusPlusSelector(share=0.5)(last, earlier=earlier).weight
        tensor([[1., 1.],
                [0., 0.]])
    """

    evidence = ("earlier",)
    recent: Tensor
    count: Tensor

    @checked
    def __init__(self, share: PositiveShare = 0.5, window: Count = 4096) -> None:
        super().__init__()
        self.share = share
        self.window = window
        # Before it is full, the empty places rank below every image.
        self.register_buffer("recent", torch.full((window,), -1.0))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def judge(self, points: JudgedPoints, logits: Tensor, *, earlier: Tensor) -> Selection:
        if earlier.dim() != logits.dim() + 1 or earlier.shape[1:] != logits.shape:
            raise InvalidInputError(
                f"earlier: got shape {tuple(earlier.shape)}, expected (J, {', '.join(map(str, logits.shape))}), the "
                "logits of J earlier states"
            )
        labels = torch.stack([judged_points(state).label for state in earlier.detach()])
        stability = image_stability(points.label, labels, points.valid, logits.shape[1])
        if self.training:
            self._remember(stability)
        known = torch.arange(self.window, device=stability.device) < self.count
        # How many of the images remembered rank higher.
        ahead = ((self.recent > stability.unsqueeze(1)) & known).sum(1)
        trusted = ahead < self.share * self.count.clamp(1, self.window)
        return self.select(points, trusted.reshape(-1, *[1] * (points.label.dim() - 1)).expand_as(points.label))

    def _remember(self, stability: Tensor) -> None:
        new = stability.detach().to(self.recent.dtype)
        if dist.is_available() and dist.is_initialized():
            gathered = [torch.empty_like(new) for _ in range(dist.get_world_size())]
            dist.all_gather(gathered, new.contiguous())
            new = torch.cat(gathered)
        position = (self.count + torch.arange(len(new), device=new.device)) % self.window
        self.recent.index_copy_(0, position, new)
        self.count += len(new)

    def extra_repr(self) -> str:
        return f"share={self.share}, window={self.window}"


def image_stability(
    label: Tensor, earlier: Tensor, valid: Tensor, num_classes: int, background: int | None = None
) -> Tensor:
    """Mean IoU of each image between its labels and those of each earlier state, averaged over the states.

    Args:
        label: int64 ``(B, *S)``.
        earlier: int64 ``(J, B, *S)``.
        valid: bool ``(B, *S)``, the points that count.
        num_classes: K.
        background: class that the mean leaves out; None: none.

    Returns:
        float32 ``(B,)`` in [0, 1]; 1 for an image without a valid point.
    """
    pairs = (earlier * num_classes + label).reshape(*earlier.shape[:2], -1)  # (J, B, N)
    states, images, _ = pairs.shape
    counts = pairs.new_zeros(states, images, num_classes**2, dtype=torch.float32)
    counts.scatter_add_(2, pairs, valid.reshape(len(valid), -1).to(counts.dtype).expand_as(pairs))
    confusion = counts.reshape(states, images, num_classes, num_classes)
    hit = confusion.diagonal(dim1=2, dim2=3)
    union = confusion.sum(2) + confusion.sum(3) - hit
    seen = union > 0
    if background is not None:
        seen = seen & (torch.arange(num_classes, device=seen.device) != background)
    iou = torch.where(seen, hit / union.clamp(min=1), 0.0).sum(2) / seen.sum(2).clamp(min=1)
    return torch.where(seen.any(2), iou, 1.0).mean(0)
