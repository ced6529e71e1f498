"""RandAugment with Cutout: the strong augmentation of semi-supervised classification."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from residual_ssl.errors import InvalidInputError
from residual_ssl.perturbations.image_operations import OPERATIONS
from residual_ssl.runtime.arguments import Index, Share, checked
from residual_ssl.runtime.global_batch import uniform

_FILL = (125 / 255, 123 / 255, 114 / 255)


class RandAugment(nn.Module):
    """Change each image by operations drawn anew for it, with magnitudes drawn over their whole range, then cut out.

    Fourteen operations of equal chance: six of colour, five of geometry, posterize, solarize and identity. They may
    repeat. Cutout covers a square of a side drawn from [0, ``cutout``] of the width, its middle anywhere in the image.

    Args:
        operations: how many, one after the other; ≥ 0.
        cutout: largest side of the square, in [0, 1] of the width; 0 for none.
        only: names of the operations to draw from; None for all.

    Call: images ``(B, C, H, W)``, floating in [0, 1], to the same shape, dtype and range.

    Raises:
        InvalidInputError: a number out of range, an unknown operation.

    Source: RandAugment, arXiv 1909.13719; the operations, their ranges and the random magnitudes of FixMatch, arXiv
    2001.07685, appendix D; three of them, and Cutout (arXiv 1708.04552) of up to half the width, in USB, arXiv
    2208.07204.

    Example:
        >>> images = torch.rand(2, 3, 16, 16)
        >>> RandAugment()(images).shape
        torch.Size([2, 3, 16, 16])
    """

    @checked
    def __init__(self, operations: Index = 3, cutout: Share = 0.5, only: Sequence[str] | None = None) -> None:
        super().__init__()
        names = list(OPERATIONS) if only is None else list(only)
        strange = [name for name in names if name not in OPERATIONS]
        if strange or not names:
            raise InvalidInputError(f"only: got {names}, expected some of {', '.join(OPERATIONS)}")
        self.operations = operations
        self.cutout = cutout
        self.only = names

    def forward(self, images: Tensor) -> Tensor:
        # Drawn on the CPU: to gather the images of an operation then waits for no device.
        draws = uniform(len(images), 2 * self.operations + 3, device=torch.device("cpu"))
        choices = (draws[:, : self.operations] * len(self.only)).long()
        magnitudes = draws[:, self.operations : 2 * self.operations]
        changed = images.clone()
        for slot in range(self.operations):
            for number, name in enumerate(self.only):
                rows = (choices[:, slot] == number).nonzero().flatten()
                if len(rows):
                    magnitude = magnitudes[rows, slot].to(images.device, images.dtype)
                    rows = rows.to(images.device)
                    changed[rows] = OPERATIONS[name](changed[rows], magnitude).clamp(0, 1)
        return self._cut(changed, draws[:, -3:].to(images.device, images.dtype)) if self.cutout > 0 else changed

    def _cut(self, images: Tensor, draws: Tensor) -> Tensor:
        share, *middles = draws.unbind(1)
        channels, height, width = images.shape[1:]
        side = share * self.cutout * width
        inside = []
        for length, middle in ((height, middles[0]), (width, middles[1])):
            position = torch.arange(length, device=images.device) + 0.5
            inside.append((position - (middle * length).unsqueeze(1)).abs() < (side / 2).unsqueeze(1))
        hidden = (inside[0].unsqueeze(2) & inside[1].unsqueeze(1)).unsqueeze(1)
        fill = images.new_tensor(_FILL if channels == 3 else (0.5,) * channels).view(-1, 1, 1)
        return torch.where(hidden, fill, images)

    def extra_repr(self) -> str:
        return f"operations={self.operations}, cutout={self.cutout}, only={self.only}"
