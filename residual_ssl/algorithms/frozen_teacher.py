"""Teachers that have finished learning: networks of earlier runs."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from residual_ssl.errors import InvalidInputError
from residual_ssl.runtime import checkpoint


class FrozenTeacher(nn.Module):
    """Networks of the student's architecture, in evaluation mode and without gradients.

    Args:
        model: the student; copied for its architecture.
        count: number of networks, at least 1. The last one teaches, the earlier ones are to be compared with it.

    The weights come from :meth:`load`, or with the state of the module from a checkpoint of training.

    Example:
        >>> teacher = FrozenTeacher(nn.Linear(2, 3), count=2)
        >>> teacher(torch.zeros(1, 2)).shape, teacher.earlier(torch.zeros(1, 2)).shape
        (torch.Size([1, 3]), torch.Size([1, 1, 3]))
    """

    def __init__(self, model: nn.Module, count: int = 1) -> None:
        super().__init__()
        if count < 1:
            raise InvalidInputError(f"count: got {count}, expected at least one network")
        self.networks = nn.ModuleList(copy.deepcopy(model).requires_grad_(False) for _ in range(count)).eval()

    def load(self, paths: Sequence[str | Path]) -> None:
        """Take the weights of as many checkpoints, the teaching one last.

        Raises:
            InvalidInputError: another number of files than of networks.
            MissingDataError, CheckpointError: a file that is not there, cannot be read or does not fit.
        """
        if len(paths) != len(self.networks):
            raise InvalidInputError(f"paths: got {len(paths)}, expected {len(self.networks)}, one for each network")
        for network, path in zip(self.networks, map(Path, paths), strict=True):
            checkpoint.restore_weights(network, checkpoint.load(path)["model"], path)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Logits of the teaching network."""
        return self.networks[-1](x)  # type: ignore[no-any-return]

    @torch.no_grad()
    def earlier(self, x: Tensor) -> Tensor:
        """Logits of the earlier networks, stacked: ``(count - 1, B, K, *S)``."""
        return torch.stack([network(x) for network in self.networks[:-1]])  # type: ignore[union-attr]

    def train(self, mode: bool = True) -> FrozenTeacher:
        """Stay in evaluation mode."""
        return super().train(False)
