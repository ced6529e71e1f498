"""The interface of every selection rule, and how a rule keeps state across processes."""

from __future__ import annotations

from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

from residual_ssl.errors import InvalidInputError
from residual_ssl.features import JudgedPoints
from residual_ssl.selection.selection import Selection

Reduction = Literal["mean", "sum", "max", "min"]

_OPERATIONS = {"mean": dist.ReduceOp.SUM, "sum": dist.ReduceOp.SUM, "max": dist.ReduceOp.MAX, "min": dist.ReduceOp.MIN}


class Selector(nn.Module):
    """Judges predictions: ``forward(logits, valid=None) -> Selection``.

    Args of ``forward``:
        logits: ``(B, K, *S)``, floating, K ≥ 2, ``*S`` any spatial shape, empty for classification.
        valid: bool ``(B, *S)``, False at points to leave out; None for all.

    Some rules judge by more than one prediction. What they need, by name of a keyword argument of their ``forward``, is
    in :attr:`evidence`; an algorithm passes it on. A rule that learns from labelled predictions has :meth:`observe`.

    A rule with memory (a running threshold, class counts) declares it once with :meth:`add_state`, which makes it a
    buffer, so that it moves with the module and goes into checkpoints, and updates it only from statistics passed
    through :meth:`reduced`, so that all processes of a distributed run hold the same state.

    Example:
        >>> import torch
        >>> from residual_ssl.features import judged_points
        >>> class RunningMean(Selector):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.add_state("threshold", torch.tensor(0.5), "mean")
        ...     def forward(self, logits, valid=None):
        ...         points = judged_points(logits, valid)
        ...         mean = self.reduced("threshold", points.confidence.mean())
        ...         self.threshold.lerp_(mean.detach(), 0.1)
        ...         return self.select(points, points.confidence >= self.threshold)
        >>> rule = RunningMean()
        >>> rule(torch.tensor([[4.0, 0.0], [0.1, 0.0]])).weight
        tensor([1., 0.])
    """

    #: Keyword arguments that ``forward`` needs beside logits and valid: ``"truth"``, the true class ids ``(B, *S)``;
    #: ``"second"``, another model's or view's logits of the same points ``(B, K, *S)``; ``"earlier"``, the logits of
    #: earlier states of the model ``(J, B, K, *S)``.
    evidence: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self._reductions: dict[str, Reduction] = {}

    def forward(self, logits: Tensor, valid: Tensor | None = None) -> Selection:
        raise NotImplementedError

    def begin(self, steps: int) -> None:
        """Told of the number of training steps before the first of them, and not when a training is continued.

        Rules with a schedule override it and keep the number as state; for the others it does nothing.
        """

    def observe(self, logits: Tensor, target: Tensor, ignore_index: int = 255) -> None:
        """Told of a step's labelled predictions ``(B, K, *S)`` and their class ids ``(B, *S)``, before ``forward``.

        Rules that learn from labels override it; for the others it does nothing.
        """

    def add_state(self, name: str, default: Tensor, reduction: Reduction) -> None:
        """Declare a state tensor and how its batch statistic is combined across processes."""
        if reduction not in _OPERATIONS:
            raise InvalidInputError(f"reduction: got {reduction!r}, expected one of {', '.join(_OPERATIONS)}")
        self.register_buffer(name, default.clone())
        self._reductions[name] = reduction

    def reduced(self, name: str, value: Tensor) -> Tensor:
        """A batch statistic combined over all processes, as declared for state ``name``; itself on a single process."""
        reduction = self._reductions[name]
        if not (dist.is_available() and dist.is_initialized()):
            return value
        total = value.detach().clone()
        dist.all_reduce(total, op=_OPERATIONS[reduction])
        return total / dist.get_world_size() if reduction == "mean" else total

    @staticmethod
    def select(
        points: JudgedPoints,
        trusted: Tensor,
        weight: Tensor | None = None,
        *,
        target: Tensor | None = None,
        negative: Tensor | None = None,
    ) -> Selection:
        """The Selection of a rule; without ``weight``, trusted points weigh 1 and all others 0."""
        trusted = trusted & points.valid
        weight = trusted.to(points.confidence.dtype) if weight is None else weight
        return Selection(
            label=points.label,
            weight=torch.where(points.valid, weight, torch.zeros_like(weight)),
            trusted=trusted,
            valid=points.valid,
            confidence=points.confidence,
            residual=points.residual,
            target=target,
            negative=None if negative is None else negative & points.valid.unsqueeze(1),
            diagnostics={"nonfinite": (~points.finite).sum()},
        )
