"""A teacher whose parameters are the exponential moving average of the student's."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from residual_ssl.algorithms.teacher import Teacher
from residual_ssl.errors import InvalidInputError
from residual_ssl.selection.points.memory import Memory


class EMATeacher(Teacher):
    """Moving average of a model, in evaluation mode and without gradients.

    Args:
        model: the student; copied.
        decay: share of the old average kept at each update, in [0, 1). The first updates use
            ``min(decay, 1 - 1/(updates + 1))``, so that the random start does not linger.

    Integer buffers are copied, floating ones (BatchNorm statistics) averaged as the parameters are. ``model`` predicts
    in the student's dtype. Averages of parameters in float16 or bfloat16 are kept in float32 in ``averages``, also
    where the teacher is cast later. The call takes what the model's takes and returns what it returns.

    Source: Mean Teacher, arXiv 1703.01780.

    Example:
        >>> import torch
        >>> student = torch.nn.Linear(2, 2)
        >>> teacher = EMATeacher(student, decay=0.9)
        >>> teacher(torch.zeros(1, 2)).shape
        torch.Size([1, 2])
    """

    updates: Tensor

    def __init__(self, model: nn.Module, decay: float = 0.999) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise InvalidInputError(f"decay: got {decay}, expected a value in [0, 1)")
        self.decay = decay
        with torch.inference_mode(False):
            self.model = copy.deepcopy(model).requires_grad_(False).eval()
            self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
            self.averages = Memory()
            self._keep_averages({})

    @torch.no_grad()
    def forward(self, *inputs: Any, **named: Any) -> Any:
        return self.model(*inputs, **named)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards ``model``; call it once after each optimiser step."""
        self.updates += 1
        kept = (1 - 1 / (self.updates + 1)).clamp(max=self.decay)
        averages: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
        for (name, mine), (_, new) in zip(_tensors(self.model), _tensors(model), strict=True):
            if mine.is_floating_point():
                average = self._average(name, mine)
                old, towards = averages.setdefault(average.dtype, ([], []))
                old.append(average)
                towards.append(new.to(average.dtype))
            else:
                mine.copy_(new)
        for kind, (old, towards) in averages.items():
            torch._foreach_lerp_(old, towards, [(1 - kept).to(kind)] * len(old))
        for name, mine in _tensors(self.model):
            if _low(mine):
                mine.copy_(self._average(name, mine))

    def evaluated(self, student: nn.Module) -> nn.Module:
        """The average, which is the better network."""
        return self.model

    def _average(self, name: str, tensor: Tensor) -> Tensor:
        return self.averages._buffers.get(_key(name)) if _low(tensor) else tensor  # type: ignore[return-value]

    def _keep_averages(self, before: Mapping[str, Tensor]) -> None:
        """Make the float32 average of each tensor of low precision, from its value ``before`` a cast."""
        names = set()
        for name, tensor in _tensors(self.model):
            if _low(tensor):
                names.add(_key(name))
                if _key(name) not in self.averages._buffers:
                    value = before.get(name, tensor).detach().to(tensor.device, torch.float32, copy=True)
                    self.averages.register_buffer(_key(name), value)
            elif _key(name) in self.averages._buffers:
                tensor.data.copy_(getattr(self.averages, _key(name)))  # cast back: the average is the more exact one
        for stale in self.averages._buffers.keys() - names:
            delattr(self.averages, stale)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> EMATeacher:
        before = {name: tensor.detach() for name, tensor in _tensors(self.model) if tensor.is_floating_point()}
        with torch.inference_mode(False), torch.no_grad():
            super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
            self._keep_averages(before)
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        # Averages of a state of another precision, or none as in older states, are those of its model.
        low = {name for name, tensor in _tensors(self.model) if _low(tensor)}
        for name, _ in _tensors(self.model):
            model, average = f"{prefix}model.{name}", f"{prefix}averages.{_key(name)}"
            if average in state_dict:
                state_dict[model] = state_dict[average]
            elif name in low and model in state_dict:
                state_dict[average] = state_dict[model]
            if name not in low:
                state_dict.pop(average, None)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)  # type: ignore[no-untyped-call]


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def _low(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.dtype.itemsize < 4


def _key(name: str) -> str:
    return name.replace(".", "/")
