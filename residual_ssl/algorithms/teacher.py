"""The interface of teachers: networks beside the student whose predictions become pseudo-labels."""

from __future__ import annotations

from torch import Tensor, nn


class Teacher(nn.Module):
    """A network that predicts without gradients and in evaluation mode, and is never optimised.

    ``forward(x)`` gives logits. What a kind of teacher does beside that it overrides.
    """

    def on_train_start(self) -> None:
        """Called once before the first step of a new run; not when one is continued."""

    def update(self, model: nn.Module) -> None:
        """Called with the student after each optimiser step."""

    def earlier(self, x: Tensor) -> Tensor | None:
        """Logits of earlier states of the teacher, ``(N, B, K, *S)``; None where it has none."""
        return None

    def evaluated(self, student: nn.Module) -> nn.Module:
        """The network to evaluate and to predict with: the student, unless the teacher is the better one."""
        return student

    def train(self, mode: bool = True) -> Teacher:
        """Stay in evaluation mode: a teacher predicts with its running statistics."""
        return super().train(False)
