"""The base of every selector: its input, its memory across processes, and what it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor

from residual_ssl.errors import InvalidInputError, NotFittedError
from residual_ssl.selection.features import JudgedPoints, check_prediction, judged_points
from residual_ssl.selection.needs import Needs
from residual_ssl.selection.points.memory import Memory
from residual_ssl.selection.points.units import warn_of_probabilities
from residual_ssl.selection.selection import Selection

Reduction = Literal["mean", "sum", "max", "min"]

_OPERATIONS = {"mean": dist.ReduceOp.SUM, "sum": dist.ReduceOp.SUM, "max": dist.ReduceOp.MAX, "min": dist.ReduceOp.MIN}


class Selector(Memory):
    """Choose pseudo-labels: ``selector(logits, valid=None) -> Selection``.

    Args of the call:
        logits: ``(B, K, *S)``, floating, K ≥ 2, ``*S`` any spatial shape, empty for classification.
        valid: bool ``(B, *S)``, False at points to leave out; None for all.

    A subclass implements ``judge(points, logits, **evidence) -> Selection``: it gets the features of the points, whose
    input has been checked, and returns :meth:`select`. One that needs ``valid`` as it was given overrides ``forward``.
    A batch without points gives an empty selection, of coverage 0. Where the first logits look like probabilities, it
    warns.

    Some selectors judge by more than one prediction, learn from labels, must be fitted or follow a schedule: see
    :attr:`needs`.

    A selector with memory (a running threshold, class counts) declares it once with :meth:`add_state`, which makes it a
    buffer, so that it moves with the module and goes into checkpoints, and updates it only from statistics passed
    through :meth:`reduced`, so that all processes of a distributed run hold the same state. States by class are
    declared with :meth:`add_class_state` and take their size from the first prediction. Memory changes in training mode
    alone: set a selector to ``eval()`` and it stays as it is. It keeps its dtype when a network around it is cast.

    Raises:
        InvalidInputError: logits or ``valid`` of another type, dtype or shape.
        NotFittedError: a selector that must be fitted, before it is.

    Example:
        >>> import torch
        >>> class RunningMean(Selector):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.add_state("threshold", torch.tensor(0.5), "mean")
        ...     def judge(self, points, logits):
        ...         mean = self.reduced("threshold", points.confidence.mean())
        ...         self.threshold.lerp_(mean.detach(), 0.1)
        ...         return self.select(points, points.confidence >= self.threshold)
        >>> selector = RunningMean()
        >>> selector(torch.tensor([[4.0, 0.0], [0.1, 0.0]])).weight
        tensor([1., 0.])
    """

    #: Keyword arguments that ``forward`` needs beside logits and valid: ``"truth"``, the true class ids ``(B, *S)``;
    #: ``"second"``, another model's or view's logits of the same points ``(B, K, *S)``; ``"earlier"``, the logits of
    #: earlier states of the model ``(J, B, K, *S)``; ``"features"``, what describes the points beside the prediction,
    #: ``(B, D, *S)``; ``"stored"``, pseudo-labels made beforehand and their weights, ``(B, 2, *S)``;
    #: ``"regions"``, the region that each point belongs to, integer ``(B, *S)``, negative for none.
    evidence: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self._reductions: dict[str, Reduction] = {}
        self._starts: dict[str, Callable[[int], Tensor]] = {}
        self._has_judged = False

    #: Judges the points of a prediction: ``judge(points, logits, **evidence) -> Selection``.
    judge: Callable[..., Selection]

    def __call__(self, logits: Tensor, valid: Tensor | None = None, *further: Any, **evidence: Any) -> Selection:
        check_prediction(logits, valid)
        self.require_fitted()
        self.size_states(logits.shape[1])
        if 0 in logits.shape:
            return self._judge_nothing(logits, further, evidence)
        # Compiled code must not depend on it, and for a graphics card the host would wait.
        if not torch.compiler.is_compiling() and not self._has_judged:
            self._has_judged = True
            if logits.device.type == "cpu":
                warn_of_probabilities(logits)
        chosen: Selection = super().__call__(logits, valid, *further, **evidence)
        return chosen

    def forward(self, logits: Tensor, valid: Tensor | None = None, **evidence: Any) -> Selection:
        return self.judge(self.features(logits, valid), logits, **evidence)

    def features(self, logits: Tensor, valid: Tensor | None) -> JudgedPoints:
        """The features that points are judged by; overridden where they are not those of the paper."""
        return judged_points(logits, valid)

    @property
    def needs(self) -> Needs:
        """What a loop has to give beside the prediction; a selector whose settings decide on it overrides this."""
        kind = type(self)
        return Needs(
            evidence=tuple(self.evidence),
            labels=kind.update_from_labels is not Selector.update_from_labels,
            fit=not getattr(self, "fitted", True) and kind.fit_pool is Selector.fit_pool,
            pool=kind.fit_pool is not Selector.fit_pool,
            schedule=kind.on_train_start is not Selector.on_train_start,
        )

    def _judge_nothing(self, logits: Tensor, further: tuple[Any, ...], evidence: Mapping[str, Any]) -> Selection:
        # One point that is not valid stands for none: states, steps and other processes go on as in any batch.
        def one(value: Any) -> Any:
            return value.new_zeros([max(size, 1) for size in value.shape]) if isinstance(value, Tensor) else value

        single = one(logits)
        valid = torch.zeros_like(single[:, 0], dtype=torch.bool)
        found = {name: one(value) for name, value in evidence.items()}
        chosen: Selection = super().__call__(single, valid, *map(one, further), **found)
        points = (logits.shape[0], *logits.shape[2:])
        return chosen.map(
            lambda value: value[tuple(slice(n) for n in (logits.shape if value.dim() == logits.dim() else points))]
        )

    def require_fitted(self) -> None:
        """Refuse use before ``fit``: of a selector whose attribute ``fitted`` is False."""
        if not getattr(self, "fitted", True):
            raise NotFittedError(
                f"{type(self).__name__}: used before fit; call fit(logits, labels) on predictions with known labels, "
                "or load the state_dict of a fitted one"
            )

    def on_train_start(self, total_steps: int) -> None:
        """Take the number of training steps, before the first of them; not called when a training is continued.

        Selectors with a schedule override it and keep the number as state; for the others it does nothing.
        """

    def fit_pool(
        self, features: Tensor, labels: Tensor, pool: Tensor, num_classes: int, *, ignore_index: int = 255
    ) -> Selector:
        """Take the features of labelled points and of the pool, before the first ``forward``.

        Selectors that judge by features override it; for the others it does nothing. Every process calls it on the same
        data.

        Args:
            features: ``(B, D, *S)``, floating, of the labelled samples.
            labels: integer ``(B, *S)``, class ids in [0, K) or ``ignore_index``.
            pool: ``(M, D, *S)``, of unlabelled samples, ``*S`` any.
            num_classes: K.
            ignore_index: id of points without a label.

        Returns:
            The selector itself.
        """
        return self

    def update_from_labels(self, logits: Tensor, target: Tensor, ignore_index: int = 255) -> None:
        """Take a step's labelled predictions ``(B, K, *S)`` and their class ids ``(B, *S)``, before ``forward``.

        Selectors that learn from labels override it; for the others it does nothing.
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
        function of a module, so that selectors can be pickled.
        """
        self.add_state(name, torch.zeros(0, dtype=start(2).dtype), reduction)
        self.sized_by_data = (*self.sized_by_data, name)
        self._starts[name] = start

    def size_states(self, num_classes: int) -> None:
        """Give the states by class their start for K classes, where they have none yet: before ``forward``.

        Raises:
            InvalidInputError: a prediction of another number of classes than the state's.
        """
        for name, start in self._starts.items():
            state: Tensor = getattr(self, name)
            expected = start(num_classes)
            if state.numel() == 0:
                self.set_state(name, expected)
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

    @staticmethod
    def select(
        points: JudgedPoints,
        trusted: Tensor,
        weight: Tensor | None = None,
        *,
        target: Tensor | None = None,
        negative: Tensor | None = None,
    ) -> Selection:
        """The Selection of a selector; without ``weight``, trusted points weigh 1 and all others 0."""
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
            diagnostics={"nonfinite": points.finite.numel() - points.finite.count_nonzero()},
        )
