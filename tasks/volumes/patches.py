"""The weak view of a volume: a patch of it, mirrored."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from residual_ssl.errors import InvalidInputError


class Patches:
    """A random patch of a volume, mirrored at random along the sides that allow it.

    A volume is first standardised: each channel has mean 0 and deviation 1. Where it is smaller than the patch, it is
    placed at random within it and the rest is padding of 0, the mean.

    Args:
        size: (depth, height, width) of a patch, each ≥ 1.
        flip: probability of being mirrored along each side, in [0, 1].

    ``__call__(volume, mask, generator) -> (patch, mask, valid)``: volume floating or integer ``(C, D, H, W)``, mask
    integer ``(D, H, W)`` or None, to float32 ``(C, *size)``, the mask's patch (0 at padding), and bool ``size``, False
    at padding. :meth:`plain` standardises alone.

    Raises:
        InvalidInputError: a choice outside its range; a volume or a mask of another shape.

    Example:
        >>> patch, mask, valid = Patches([2, 4, 4])(torch.rand(1, 3, 8, 3), torch.ones(3, 8, 3, dtype=torch.long))
        >>> patch.shape, int(valid.sum()), torch.equal(mask == 1, valid)
        (torch.Size([1, 2, 4, 4]), 24, True)
    """

    def __init__(self, size: Sequence[int], flip: float = 0.5) -> None:
        self.size = tuple(size)
        self.flip = flip
        if len(self.size) != 3 or not all(isinstance(side, int) and side >= 1 for side in self.size):
            raise InvalidInputError(f"size: got {size}, expected (depth, height, width), each ≥ 1")
        if not 0 <= flip <= 1:
            raise InvalidInputError(f"flip: got {flip}, expected a probability in [0, 1]")

    def __call__(
        self, volume: Tensor, mask: Tensor | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        check_volume(volume, mask)
        draws = torch.rand(6, generator=generator, dtype=torch.float64).tolist()
        kept: list[slice] = []
        padding: list[tuple[int, int]] = []
        for side, most, draw in zip(volume.shape[1:], self.size, draws, strict=False):
            offset = int(draw * (abs(side - most) + 1))
            kept.append(slice(offset, offset + most) if side >= most else slice(None))
            padding.append((0, 0) if side >= most else (offset, most - side - offset))
        around = [width for pair in reversed(padding) for width in pair]
        mirrored = [dim for dim, draw in zip((-3, -2, -1), draws[3:], strict=True) if draw < self.flip]

        def patch(values: Tensor) -> Tensor:
            return F.pad(values[..., kept[0], kept[1], kept[2]], around).flip(mirrored)

        valid = patch(torch.ones(volume.shape[1:], dtype=torch.bool))
        return patch(self.plain(volume)), None if mask is None else patch(mask), valid

    def plain(self, volume: Tensor) -> Tensor:
        """The volume standardised, float32."""
        check_volume(volume, None)
        values = volume.double()
        deviation, mean = torch.std_mean(values, (1, 2, 3), correction=0, keepdim=True)
        return ((values - mean) / deviation.clamp(min=1e-8)).float()

    def __repr__(self) -> str:
        return f"Patches(size={self.size}, flip={self.flip})"


def check_volume(volume: Tensor, mask: Tensor | None) -> None:
    """Refuse what is no volume ``(C, D, H, W)``, or a mask of another size or of no ids."""
    if volume.dim() != 4:
        raise InvalidInputError(f"volume: got shape {tuple(volume.shape)}, expected (C, D, H, W)")
    if mask is not None and (mask.shape != volume.shape[1:] or mask.is_floating_point()):
        raise InvalidInputError(
            f"mask: got {mask.dtype} of shape {tuple(mask.shape)}, expected integers of the volume's shape "
            f"{tuple(volume.shape[1:])}"
        )
