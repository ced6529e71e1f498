"""Bidirectional copy-paste: a box of a labelled sample in an unlabelled one, and the other way round."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from residual_ssl.errors import InvalidInputError
from residual_ssl.runtime.arguments import PositiveShare, checked
from residual_ssl.runtime.global_batch import uniform


class BidirectionalPaste(nn.Module):
    """Draw, for each unlabelled sample, the points at which a labelled one is shown instead.

    Samples at even places of the batch show the labelled one inside of a box, those at odd places everywhere but in the
    box. Its sides are a fixed share of the sample's, in any number of dimensions; its place is drawn for each sample.
    Points without a label are never pasted.

    Args:
        side: share of each side that the box has, in (0, 1].

    Call: ``(target, num_classes, ignore_index, count) -> (partners, pasted)``, as of
    :class:`~residual_ssl.perturbations.ClassMix`; int64 ``(count,)`` and bool ``(count, *S)``.

    Raises:
        InvalidInputError: labels of whole samples, without points; a share out of range.

    Source: BCP, arXiv 2305.00673, §3.1, where one box is drawn for a batch.

    Example:
        >>> target = torch.zeros(2, 6, 6, 6, dtype=torch.long)  # two labelled volumes
        >>> partners, pasted = BidirectionalPaste(0.5)(target, num_classes=2, ignore_index=255, count=2)
        >>> partners.tolist(), pasted.flatten(1).sum(1).tolist()  # 3³ points, and all but 3³
        ([0, 1], [27, 189])
    """

    @checked
    def __init__(self, side: PositiveShare = 2 / 3) -> None:
        super().__init__()
        self.side = side

    def forward(self, target: Tensor, num_classes: int, ignore_index: int, count: int) -> tuple[Tensor, Tensor]:
        if target.dim() < 2:
            raise InvalidInputError(
                f"target: got shape {tuple(target.shape)}, expected (B, *S): BidirectionalPaste cuts boxes out of "
                "samples, and a sample with one label has nothing to cut out"
            )
        partners = torch.arange(count, device=target.device) * len(target) // count
        sizes = target.shape[1:]
        starts = uniform(count, len(sizes), device=target.device)
        box = torch.ones(count, *sizes, dtype=torch.bool, device=target.device)
        for dim, length in enumerate(sizes):
            side = max(1, int(length * self.side + 1e-6))
            first = (starts[:, dim] * (length - side + 1)).floor().unsqueeze(1)
            place = torch.arange(length, device=target.device)
            inside = (place >= first) & (place < first + side)
            box = box & inside.view(count, *(length if other == dim else 1 for other in range(len(sizes))))
        inward = (torch.arange(count, device=target.device) % 2 == 0).view(-1, *[1] * len(sizes))
        return partners, torch.where(inward, box, ~box) & (target[partners] != ignore_index)

    def extra_repr(self) -> str:
        return f"side={self.side:.4g}"
