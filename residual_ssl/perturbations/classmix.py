"""ClassMix between domains: half of the classes of a labelled image, pasted onto an unlabelled one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from residual_ssl.errors import InvalidInputError
from residual_ssl.runtime.global_batch import uniform


class ClassMix(nn.Module):
    """Draw, for each unlabelled sample, the points of a labelled one that are pasted onto it.

    Half of the classes in the labelled sample, rounded up, are drawn; all their points are pasted. Points without a
    label never are.

    Call: ``(target, num_classes, ignore_index, count) -> (partners, pasted)``

    - target: int64 ``(B, *S)``, labels of the labelled batch, with at least one dimension S.
    - num_classes: K.
    - ignore_index: id of points without a label, outside [0, K).
    - count: number of unlabelled samples.
    - partners: int64 ``(count,)``, the labelled sample that is pasted onto each. In order where there are as many of
      both; otherwise in equal runs, which stay together however a batch is divided into parts.
    - pasted: bool ``(count, *S)``.

    Raises:
        InvalidInputError: labels of whole samples, without points.

    Source: DACS, arXiv 2007.08702, §3.1; the mix of two unlabelled images is ClassMix, arXiv 2007.07936.

    Example:
        >>> target = torch.tensor([[0, 0, 1, 255]])  # one labelled sample, two of three classes in four points
        >>> partners, pasted = ClassMix()(target, num_classes=3, ignore_index=255, count=1)
        >>> target[partners][pasted].unique().numel()  # all points of one of them
        1
    """

    def forward(self, target: Tensor, num_classes: int, ignore_index: int, count: int) -> tuple[Tensor, Tensor]:
        if target.dim() < 2:
            raise InvalidInputError(
                f"target: got shape {tuple(target.shape)}, expected (B, *S): ClassMix cuts classes out of samples, and "
                "a sample with one label has nothing to cut out"
            )
        scores = uniform(count, num_classes, device=target.device)
        partners = torch.arange(count, device=target.device) * len(target) // count
        label = target[partners]
        labelled = label != ignore_index
        # What is not labelled counts as a class of its own, the last, which is left out afterwards.
        ids = label.where(labelled, num_classes).flatten(1)
        present = label.new_zeros(count, num_classes + 1).scatter_(1, ids, 1)[:, :num_classes].bool()
        # Absent classes rank last: the first half of those present are the drawn ones.
        rank = scores.masked_fill(~present, 2.0).argsort(1).argsort(1)
        drawn = present & (rank < (present.sum(1, keepdim=True) + 1) // 2)
        pasted = drawn.gather(1, ids.clamp(max=num_classes - 1)).view_as(label) & labelled
        return partners, pasted
