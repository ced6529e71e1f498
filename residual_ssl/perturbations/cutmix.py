"""CutMix for dense predictions: a box of each sample is replaced by the same box of another."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from residual_ssl.errors import InvalidInputError
from residual_ssl.runtime.arguments import Share, checked
from residual_ssl.runtime.global_batch import uniform


class CutMix(nn.Module):
    """Draw, for each sample, the box in which another sample is shown.

    The caller mixes inputs, labels, weights and validity with the same boxes and :meth:`partners`:
    ``torch.where(box, own[partners], own)``.

    Args:
        probability: probability that a sample gets a box at all, in [0, 1].
        area: smallest and largest share of the sample that a box covers, drawn uniformly.
        aspect: smallest and largest ratio of each side to the last one, drawn uniformly: of images the height-to-width
            ratio; signals have none. A side longer than the sample is cut to it.

    Call: ``(batch, size, device) -> bool (batch, *size)``, size = (T,), (H, W) or (D, H, W), True inside the box.

    Raises:
        InvalidInputError: a probability outside [0, 1], ranges that are empty or not positive, no size.

    Source: CutMix, arXiv 1905.04899; the ranges are those of UniMatch, arXiv 2208.09910.

    Example:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> boxes = CutMix(probability=1.0)(2, (32, 32), torch.device("cpu"))
        >>> boxes.shape, bool(0.02 < boxes.float().mean() < 0.4)
        (torch.Size([2, 32, 32]), True)
    """

    @checked
    def __init__(
        self,
        probability: Share = 0.5,
        area: tuple[float, float] = (0.02, 0.4),
        aspect: tuple[float, float] = (0.3, 1 / 0.3),
    ) -> None:
        super().__init__()
        if not 0 < area[0] <= area[1] <= 1:
            raise InvalidInputError(f"area: got {tuple(area)}, expected 0 < smallest ≤ largest ≤ 1")
        if not 0 < aspect[0] <= aspect[1]:
            raise InvalidInputError(f"aspect: got {tuple(aspect)}, expected 0 < smallest ≤ largest")
        self.probability = probability
        self.area = tuple(area)
        self.aspect = tuple(aspect)

    def forward(self, batch: int, size: tuple[int, ...], device: torch.device) -> Tensor:
        if not size:
            raise InvalidInputError("size: got (), expected (T,), (H, W) or (D, H, W): CutMix cuts out boxes")
        dims = len(size)
        draws = uniform(batch, 2 * dims + 1, 1, device=device).unbind(1)
        area, ratios, starts, chance = draws[0], draws[1:dims], draws[dims:-1], draws[-1]
        area = self.area[0] + area * (self.area[1] - self.area[0])
        aspects = [self.aspect[0] + ratio * (self.aspect[1] - self.aspect[0]) for ratio in ratios]
        # A cube of the volume, stretched by the ratios, which together leave the volume as it is.
        cube = area * math.prod(size)
        stretched = math.prod(aspects, start=torch.ones_like(area))
        box = (chance < self.probability).reshape(batch, *[1] * dims)
        for dim, (length, start) in enumerate(zip(size, starts, strict=True)):
            own = aspects[dim] if dim < dims - 1 else 1.0
            side = (cube * (own**dims / stretched)) ** (1 / dims)
            side = side.round().clamp(1, length)
            begin = (start * (length - side + 1)).floor()
            position = torch.arange(length, device=device)
            inside = (position >= begin) & (position < begin + side)
            box = box & inside.reshape(batch, *(length if i == dim else 1 for i in range(dims)))
        return box

    @staticmethod
    def partners(batch: int, device: torch.device) -> Tensor:
        """Which sample is shown in the box of each: int64 ``(batch,)``, neighbours in pairs.

        Pairs stay together however a batch is divided into parts of even size. The last of an odd number takes the
        one before it; a single sample has no other, and CutMix does nothing to it.

        Example:
            >>> CutMix.partners(5, torch.device("cpu"))
            tensor([1, 0, 3, 2, 3])
        """
        indices = torch.arange(batch, device=device)
        other = indices ^ 1
        return other.where(other < batch, (indices - 1).clamp(min=0))

    def extra_repr(self) -> str:
        return f"probability={self.probability}, area={self.area}, aspect={self.aspect}"
