"""Predictions, labels and comparisons that selectors are tested with."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from residual_ssl.selection import Selection, Selector

SHAPES = [(16, 5), (3, 5, 40), (2, 5, 12, 10), (2, 5, 4, 6, 5)]


def random_logits(shape: tuple[int, ...], dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    """Logits of mixed confidence: the scale differs from point to point."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator, dtype=torch.float64)
    scale = 6 * torch.rand((shape[0], 1, *shape[2:]), generator=generator, dtype=torch.float64)
    return (logits * scale).to(dtype)


def fields_of(selection: Selection) -> dict[str, Tensor]:
    names = ("label", "weight", "trusted", "valid", "confidence", "residual")
    return {name: getattr(selection, name) for name in names}


def assert_same(first: Selection, second: Selection, **tolerance: Any) -> None:
    pairs = [(name, a, fields_of(second)[name]) for name, a in fields_of(first).items()]
    for name in ("target", "negative"):
        a, b = getattr(first, name), getattr(second, name)
        assert (a is None) == (b is None), name
        pairs += [] if a is None else [(name, a, b)]
    for name, a, b in pairs:
        torch.testing.assert_close(a, b, msg=partial(_named, name), **tolerance)


def _named(name: str, text: str) -> str:
    return f"{name}: {text}"


def labels_for(logits: Tensor, seed: int = 0, ignore_index: int = 255) -> Tensor:
    """Labels that agree with most predictions, above all the confident ones; some points have none."""
    generator = torch.Generator().manual_seed(seed)
    probability = logits.double().softmax(1).movedim(1, -1)
    drawn = probability.flatten(0, -2).multinomial(1, generator=generator).view(probability.shape[:-1])
    return torch.where(torch.rand(drawn.shape, generator=generator) < 0.1, ignore_index, drawn)


def evidence_for(selector: Selector, logits: Tensor) -> dict[str, Tensor]:
    """What the selector asks for beside logits, each point's from its own logits alone."""
    made = {
        "truth": lambda: logits.argmin(1),
        "second": lambda: 0.5 * logits + 0.3 * logits.roll(1, 1),
        "stored": lambda: torch.stack([logits.argmin(1), logits.double().softmax(1).amax(1)], 1),
        "regions": lambda: logits.argmin(1) - 1,
        "features": lambda: logits.double().log_softmax(1),
        "earlier": lambda: torch.stack([logits.roll(1, 1), 0.5 * logits]),
    }
    return {name: made[name]() for name in selector.evidence}


def judge(selector: Selector, logits: Tensor, valid: Tensor | None = None) -> Selection:
    return selector(logits, valid, **evidence_for(selector, logits))


class NothingWaits(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses operations for which the host would wait for a GPU: values, or shapes, that depend on data."""

    waiting = ("_local_scalar_dense", "nonzero", "masked_select", "bincount", "is_nonzero", "_unique2", "equal", "item")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        by_mask = name in ("index", "index_put", "index_put_") and any(
            i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1]
        )
        if name in self.waiting or by_mask:
            raise AssertionError(f"{func} waits for the device")
        return func(*args, **(kwargs or {}))
