"""The points of a dense detector: the places of its feature maps, and which object each of them is to find."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from residual_ssl.errors import InvalidInputError

_RADIUS = 1.5  # strides


class Locations:
    """Places of the feature maps of a pyramid over an image: N points, level by level, row by row.

    Args:
        strides: input size over size of each level, from the finest.

    Raises:
        InvalidInputError: strides that are not ascending integers ≥ 1.

    Source: FCOS, arXiv 1904.01355, §3.

    Example:
        >>> points = Locations([8, 16])
        >>> points.count((32, 16)), points.centers((32, 16))[[0, -1]].tolist()
        (10, [[4.0, 4.0], [8.0, 24.0]])
    """

    def __init__(self, strides: Sequence[int]) -> None:
        self.strides = tuple(strides)
        if not self.strides or list(self.strides) != sorted({s for s in self.strides if isinstance(s, int) and s > 0}):
            raise InvalidInputError(f"strides: got {tuple(strides)}, expected ascending integers ≥ 1")

    def grids(self, size: tuple[int, ...]) -> list[tuple[int, int]]:
        """(height, width) of each level for an input of (height, width) ``size``."""
        return [(-(-size[0] // stride), -(-size[1] // stride)) for stride in self.strides]

    def count(self, size: tuple[int, ...]) -> int:
        """N."""
        return sum(height * width for height, width in self.grids(size))

    def centers(self, size: tuple[int, ...], device: torch.device | None = None) -> Tensor:
        """Centres of the places in pixels, x and y, float32 ``(N, 2)``."""
        found = []
        for (height, width), stride in zip(self.grids(size), self.strides, strict=True):
            y = (torch.arange(height, device=device) + 0.5) * stride
            x = (torch.arange(width, device=device) + 0.5) * stride
            found.append(torch.stack([x.expand(height, width), y.unsqueeze(1).expand(height, width)], -1).view(-1, 2))
        return torch.cat(found)

    def stride_of_each(self, size: tuple[int, ...], device: torch.device | None = None) -> Tensor:
        """Stride of each place, float32 ``(N,)``."""
        return torch.cat(
            [
                torch.full((height * width,), float(stride), device=device)
                for (height, width), stride in zip(self.grids(size), self.strides, strict=True)
            ]
        )

    def at(self, pixels: Tensor) -> Tensor:
        """What a map of the input, ``(…, H, W)``, holds at each place, ``(…, N)``."""
        size = (pixels.shape[-2], pixels.shape[-1])
        x, y = self.centers(size, pixels.device).long().unbind(1)
        return pixels[..., y.clamp(max=size[0] - 1), x.clamp(max=size[1] - 1)]

    def over(self, points: Tensor, size: tuple[int, ...]) -> Tensor:
        """The pixels ``(…, H, W)`` at which bool ``points`` ``(…, N)`` hold on all levels."""
        whole = torch.ones((*points.shape[:-1], *size), dtype=torch.bool, device=points.device)
        levels = torch.split(points, [height * width for height, width in self.grids(size)], -1)
        for level, (height, width), stride in zip(levels, self.grids(size), self.strides, strict=True):
            large = (
                level.reshape(*points.shape[:-1], height, width)
                .repeat_interleave(stride, -2)
                .repeat_interleave(stride, -1)
            )
            whole &= large[..., : size[0], : size[1]]
        return whole

    def objects(self, boxes: Tensor, size: tuple[int, ...]) -> Tensor:
        """Which of the boxes ``(n, 4)`` each place is to find, int64 ``(N,)``, -1 for none.

        That is the smallest one in whose middle the place lies (within 1.5 strides of its centre, and inside) and whose
        farthest side is in the range of the level: up to 8 strides, and more than that of the level before it.
        """
        centers, stride = self.centers(size, boxes.device), self.stride_of_each(size, boxes.device)
        if not len(boxes):
            return torch.full((len(centers),), -1, device=boxes.device)
        sides = torch.cat([centers.unsqueeze(1) - boxes[:, :2], boxes[:, 2:] - centers.unsqueeze(1)], -1)  # (N, n, 4)
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        near = (centers.unsqueeze(1) - middle).abs().amax(-1) < _RADIUS * stride.unsqueeze(1)
        lower = torch.cat([stride.new_full((1,), s) for s in (0.0, *(8.0 * s for s in self.strides[:-1]))])
        upper = torch.cat([stride.new_full((1,), s) for s in (*(8.0 * s for s in self.strides[:-1]), torch.inf)])
        level = torch.searchsorted(stride.new_tensor(self.strides), stride)
        farthest = sides.amax(-1)
        fits = (farthest > lower[level].unsqueeze(1)) & (farthest <= upper[level].unsqueeze(1))
        area = (boxes[:, 2:] - boxes[:, :2]).prod(1).expand(len(centers), -1)
        smallest, found = area.where(near & fits & (sides.amin(-1) > 0), torch.inf).min(1)
        return found.where(smallest.isfinite(), -1)


def centerness(centers: Tensor, boxes: Tensor) -> Tensor:
    """How near the middle of its box ``(N, 4)`` each place ``(N, 2)`` lies, in [0, 1]; 0 outside.

    Source: FCOS, arXiv 1904.01355, eq. 3.

    Example:
        >>> centerness(torch.tensor([[2.0, 2.0], [1.0, 2.0]]), torch.tensor([[0.0, 0.0, 4.0, 4.0]] * 2))
        tensor([1.0000, 0.5774])
    """
    before, after = (centers - boxes[:, :2]).clamp(min=0), (boxes[:, 2:] - centers).clamp(min=0)
    smaller, larger = torch.minimum(before, after), torch.maximum(before, after)
    return (smaller / larger.clamp(min=1e-6)).prod(1).sqrt()
