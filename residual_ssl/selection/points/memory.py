"""Buffers that keep their precision and can be updated, whatever mode or network they live in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


class Memory(nn.Module):
    """A module whose own buffers keep their dtype when a network around it is cast, and are never inference tensors.

    ``.to(torch.bfloat16)``, ``.half()`` and ``.double()`` cast a network's parameters and move this module's buffers to
    another device, but leave their dtype: a moving average of momentum .999 does not move in bfloat16. Floating buffers
    are kept in float32 or float64. Buffers made under :func:`torch.inference_mode` can be updated outside it.

    Example:
        >>> memory = Memory()
        >>> memory.register_buffer("mean", torch.zeros(1, dtype=torch.bfloat16))
        >>> memory.half().mean.dtype
        torch.float32
    """

    #: Names of the buffers whose shape depends on what was seen: a fresh module takes that of a loaded state.
    sized_by_data: tuple[str, ...] = ()

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Register a buffer as :class:`torch.nn.Module` does; a floating one in float32 at least."""
        super().register_buffer(name, None if tensor is None else _kept(tensor), persistent)

    def set_state(self, name: str, value: Tensor) -> None:
        """Replace a buffer by a value of any shape, in the dtype and on the device of the buffer."""
        old: Tensor = getattr(self, name)
        with torch.inference_mode(False):
            setattr(self, name, value.detach().to(old.device, old.dtype, copy=True))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Memory:
        before = {name: buffer for name, buffer in self._buffers.items() if buffer is not None}
        with torch.inference_mode(False):
            super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
            for name, old in before.items():
                new = self._buffers[name]
                if new is not None and new.dtype != old.dtype:
                    self._buffers[name] = old.to(new.device)
        return self

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        kinds = {name: buffer.dtype for name, buffer in self._buffers.items() if buffer is not None}
        for name in self.sized_by_data:
            if prefix + name in state_dict:
                self.set_state(name, torch.empty_like(state_dict[prefix + name]))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)  # type: ignore[no-untyped-call]
        # With assign=True the loaded tensors take the place of the buffers, in a dtype of their own.
        for name, kind in kinds.items():
            loaded = self._buffers[name]
            if loaded is not None and loaded.dtype != kind:
                self._buffers[name] = loaded.to(kind)


def _kept(tensor: Tensor) -> Tensor:
    with torch.inference_mode(False):
        tensor = tensor.clone() if tensor.is_inference() else tensor
        low = tensor.is_floating_point() and tensor.dtype.itemsize < 4
        return tensor.float() if low else tensor
