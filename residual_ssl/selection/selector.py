"""The interface of every selection rule, and how a rule keeps state across processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

from residual_ssl.errors import InvalidInputError
from residual_ssl.selection.features import JudgedPoints
from residual_ssl.selection.selection import Selection

Reduction = Literal["mean", "sum", "max", "min"]

_OPERATIONS = {"mean": dist.ReduceOp.SUM, "sum": dist.ReduceOp.SUM, "max": dist.ReduceOp.MAX, "min": dist.ReduceOp.MIN}


class Selector(nn.Module):
    """Judges predictions: ``forward(logits, valid=None) -> Selection``.

    Args of ``forward``:
        logits: ``(B, K, *S)``, floating, K ≥ 2, ``*S`` any spatial shape, empty for classification.
        valid: bool ``(B, *S)``, False at points to leave out; None for all.

    Some rules judge by more than one prediction. What they need, by name of a keyword argument of their ``forward``, is
    in :attr:`evidence`; an algorithm passes it on. A rule that learns from labels has :meth:`update_from_labels`.

    A rule with memory (a running threshold, class counts) declares it once with :meth:`add_state`, which makes it a
    buffer, so that it moves with the module and goes into checkpoints, and updates it only from statistics passed
    through :meth:`reduced`, so that all processes of a distributed run hold the same state. Memory by class is
    declared with :meth:`add_class_state` and takes its size from the first prediction. Memory changes in
    training mode alone: a rule that judges for a report is set to ``eval()`` and stays as it is.

    Example:
        >>> import torch
        >>> from residual_ssl.selection.features import judged_points
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
        self._starts: dict[str, Callable[[int], Tensor]] = {}

    def forward(self, logits: Tensor, valid: Tensor | None = None) -> Selection:
        raise NotImplementedError

    def on_train_start(self, total_steps: int) -> None:
        """Told of the number of training steps before the first of them, and not when a training is continued.

        Rules with a schedule override it and keep the number as state; for the others it does nothing.
        """

    def update_from_labels(self, logits: Tensor, target: Tensor, ignore_index: int = 255) -> None:
        """Told of a step's labelled predictions ``(B, K, *S)`` and their class ids ``(B, *S)``, before ``forward``.

        Rules that learn from labels override it; for the others it does nothing.
        """

    def add_state(self, name: str, default: Tensor, reduction: Reduction) -> None:
        """Declare a state tensor and how its batch statistic is combined across processes."""
        if reduction not in _OPERATIONS:
            raise InvalidInputError(f"reduction: got {reduction!r}, expected one of {', '.join(_OPERATIONS)}")
        self.register_buffer(name, default.clone())
        self._reductions[name] = reduction

    def add_class_state(self, name: str, start: Callable[[int], Tensor], reduction: Reduction) -> None:
        """Declare a state tensor whose shape depends on the number of classes K.

        It is empty until :meth:`size_states` gives it the value ``start(K)``, or a filled one is loaded. ``start`` is a
        function of a module, so that rules can be pickled.
        """
        self.add_state(name, torch.zeros(0), reduction)
        self._starts[name] = start

    def size_states(self, num_classes: int) -> None:
        """Give the states by class their start for K classes, where they have none yet: first thing in ``forward``.

        Raises:
            InvalidInputError: a prediction of another number of classes than the state's.
        """
        for name, start in self._starts.items():
            state: Tensor = getattr(self, name)
            expected = start(num_classes)
            if state.numel() == 0:
                setattr(self, name, expected.to(state.device, state.dtype))
            elif state.shape != expected.shape:
                raise InvalidInputError(
                    f"logits: got {num_classes} classes, for which {name} of {type(self).__name__} has shape "
                    f"{tuple(expected.shape)}, expected as many as it has seen, shape {tuple(state.shape)}; "
                    "make a selector for each number of classes"
                )

    def reduced(self, name: str, value: Tensor, count: Tensor | None = None) -> Tensor:
        """A batch statistic combined over all processes, as declared for state ``name``; itself on a single process.

        Args:
            name: of the state that the statistic belongs to.
            value: the statistic of this process.
            count: for a mean, the number of points behind it, of the shape of ``value`` or a scalar: processes count by
                their points, and where none has any, whatever ``value`` is, the result is the state itself. None: all
                processes count alike.
        """
        reduction = self._reductions[name]
        if count is not None:
            count = count.to(value.dtype).expand_as(value)
            sums = torch.stack([torch.where(count > 0, value * count, torch.zeros_like(value)), count]).detach()
            total, points = self.over_processes(sums, "sum")
            return torch.where(points > 0, total / points.clamp(min=1), getattr(self, name).to(value.dtype))
        return self.over_processes(value, reduction)

    def moved(self, name: str, value: Tensor, momentum: float | Tensor, count: Tensor | None = None) -> Tensor:
        """State ``name`` after one step of a moving average: ``m·state + (1-m)·value``, detached, in value's dtype.

        Args:
            name: of the state, which is updated; in evaluation mode it is returned as it stands.
            value: statistic of the batch.
            momentum: m.
            count: as in :meth:`reduced`.
        """
        state: Tensor = getattr(self, name)
        old = state.to(value.dtype)
        if not self.training:
            return old
        new = momentum * old + (1 - momentum) * self.reduced(name, value.detach(), count)
        state.copy_(new)
        return new

    def over_processes(self, value: Tensor, reduction: Reduction = "sum") -> Tensor:
        """A tensor combined over all processes, detached; itself on a single process.

        In evaluation mode, too, it is the process's own: there a process may judge alone.
        """
        if not (self.training and dist.is_available() and dist.is_initialized()):
            return value
        total = value.detach().clone()
        dist.all_reduce(total, op=_OPERATIONS[reduction])
        return total / dist.get_world_size() if reduction == "mean" else total

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        # States by class have no size before the first prediction; a fresh selector takes that of the checkpoint.
        for name in self._starts:
            if prefix + name in state_dict:
                own: Tensor = getattr(self, name)
                setattr(self, name, torch.empty_like(state_dict[prefix + name], dtype=own.dtype, device=own.device))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)  # type: ignore[no-untyped-call]

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
