"""Trusted Mask Perturbation: hide what the model already gets right, so that it must infer it from the rest."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from residual_ssl.errors import InvalidInputError, ResidualSSLWarning
from residual_ssl.runtime.arguments import Count, Share, checked
from residual_ssl.runtime.global_batch import uniform


class TrustedMask(nn.Module):
    """Erase random blocks of the input where its prediction is trusted.

    A grid of ``round(size/block)`` cells a dimension is drawn for each sample, each cell with probability ``ratio``;
    the points that are both in a drawn cell and trusted are replaced by ``fill``. The loss is then taken over the whole
    input with the labels and weights of the view that was not masked.

    Args:
        ratio: probability of each cell, in [0, 1].
        block: side of a cell in points, ≥ 1.
        probability: probability that a sample is masked at all, in [0, 1].
        fill: value of erased points; 0 is the mean colour of a normalised image.
        trusted_only: False: erase the drawn cells whole, whatever is trusted, which is masked image consistency (MIC).

    Call: ``(x, trusted, samples=None) -> (masked, mask)``
        x: ``(B, C, *S)``, any number of trailing dimensions: signals, images, volumes, tokens.
        trusted: bool ``(B, *S)``, or ``(B,)``, one value per sample.
        samples: bool ``(B,)``, the samples to mask, in place of a draw with ``probability`` (see :meth:`draw_samples`).
        masked: as ``x``; ``mask``: bool ``(B, *S)``, True at the erased points.

    Raises:
        InvalidInputError: a ratio or probability outside [0, 1], a block below 1, shapes that do not fit.

    Source: CSL, arXiv 2509.16704, §3.4; ratio and block of MIC, arXiv 2212.01322, §3.3, whose mask is
    that of ``trusted_only=False``.

    Example:
        >>> import torch
        >>> x = torch.ones(1, 3, 4, 4)
        >>> trusted = torch.zeros(1, 4, 4, dtype=torch.bool)
        >>> trusted[:, :2] = True
        >>> masked, mask = TrustedMask(ratio=1.0, block=2, probability=1.0)(x, trusted)
        >>> masked[0, 0]
        tensor([[0., 0., 0., 0.],
                [0., 0., 0., 0.],
                [1., 1., 1., 1.],
                [1., 1., 1., 1.]])
    """

    @checked
    def __init__(
        self,
        ratio: Share = 0.7,
        block: Count = 32,
        probability: Share = 0.5,
        fill: float = 0.0,
        trusted_only: bool = True,
    ) -> None:
        super().__init__()
        self.ratio = ratio
        self.block = block
        self.probability = probability
        self.fill = fill
        self.trusted_only = trusted_only
        self._told = False

    def forward(self, x: Tensor, trusted: Tensor, samples: Tensor | None = None) -> tuple[Tensor, Tensor]:
        shape = (x.shape[0], *x.shape[2:])
        if x.dim() < 3:
            raise InvalidInputError(f"x: got shape {tuple(x.shape)}, expected (B, C, *S) with at least one dimension S")
        if trusted.dtype != torch.bool or tuple(trusted.shape) not in (shape, shape[:1]):
            raise InvalidInputError(
                f"trusted: got {trusted.dtype} of shape {tuple(trusted.shape)}, expected torch.bool of shape {shape} "
                f"or {shape[:1]}, as x is {tuple(x.shape)}"
            )
        if samples is None:
            samples = self.draw_samples(shape[0], x.device)
        allowed = trusted.reshape(*trusted.shape, *[1] * (len(shape) - trusted.dim()))
        allowed = allowed | (not self.trusted_only)
        mask = self._blocks(shape, x.device) & allowed & samples.reshape(-1, *[1] * (len(shape) - 1))
        return torch.where(mask.unsqueeze(1), torch.full_like(x, self.fill), x), mask

    def draw_samples(self, batch: int, device: torch.device) -> Tensor:
        """Which samples of a batch to mask: bool ``(B,)``, each with ``probability``."""
        return uniform(batch, device=device) < self.probability

    def _blocks(self, shape: tuple[int, ...], device: torch.device) -> Tensor:
        cells = [max(1, round(size / self.block)) for size in shape[1:]]
        if max(cells) == 1 and not self._told:
            self._told = True
            told = "×".join(map(str, shape[1:]))
            warnings.warn(
                f"block: got {self.block} for inputs of {told} points, which is one cell: each sample is hidden as a "
                "whole or not at all; give a smaller block, dataset.mask_block of a configuration",
                ResidualSSLWarning,
                stacklevel=3,
            )
        grid = uniform(shape[0], *cells, device=device) < self.ratio
        for dim, (size, count) in enumerate(zip(shape[1:], cells, strict=True), start=1):
            nearest = torch.arange(size, device=device) * count // size
            grid = grid.index_select(dim, nearest)
        return grid

    def extra_repr(self) -> str:
        return (
            f"ratio={self.ratio}, block={self.block}, probability={self.probability}, fill={self.fill}, "
            f"trusted_only={self.trusted_only}"
        )
