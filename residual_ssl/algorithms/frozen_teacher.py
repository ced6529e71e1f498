"""Teachers that have finished learning: networks of earlier runs."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from residual_ssl.algorithms.teacher import Teacher
from residual_ssl.errors import InvalidInputError
from residual_ssl.runtime import checkpoint


class FrozenTeacher(Teacher):
    """Networks of the student's architecture, in evaluation mode and without gradients.

    Args:
        model: the student; copied for its architecture.
        paths: checkpoints of finished runs, at least one. The last one teaches, the earlier ones are to be compared
            with it. They are read by :meth:`on_train_start`; later the weights come with the state of the module.

    Raises:
        InvalidInputError: no path.

    Example:
        >>> teacher = FrozenTeacher(nn.Linear(2, 3), ["first.pt", "last.pt"])
        >>> teacher(torch.zeros(1, 2)).shape, teacher.earlier(torch.zeros(1, 2)).shape
        (torch.Size([1, 3]), torch.Size([1, 1, 3]))
    """

    def __init__(self, model: nn.Module, paths: Sequence[str | Path]) -> None:
        super().__init__()
        if not paths:
            raise InvalidInputError("paths: got none, expected at least one checkpoint")
        self.paths = [Path(path) for path in paths]
        self.networks = nn.ModuleList(copy.deepcopy(model).requires_grad_(False) for _ in paths).eval()

    def on_train_start(self) -> None:
        """Take the weights of the checkpoints.

        Raises:
            MissingDataError, CheckpointError: a file that is not there, cannot be read or does not fit.
        """
        for network, path in zip(self.networks, self.paths, strict=True):
            checkpoint.restore_weights(network, checkpoint.load(path)["model"], path)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Logits of the teaching network."""
        return self.networks[-1](x)  # type: ignore[no-any-return]

    @torch.no_grad()
    def earlier(self, x: Tensor) -> Tensor | None:
        logits = [network(x) for network in self.networks[:-1]]  # type: ignore[union-attr]
        return torch.stack(logits) if logits else None
