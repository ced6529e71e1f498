"""The base of selectors that wrap another."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from residual_ssl.selection.needs import Needs
from residual_ssl.selection.selector import Selector


class WrapperSelector(Selector):
    """Forward to the selector inside what a loop tells a selector; a subclass overrides ``forward``.

    Args:
        inner: name of the attribute that holds the selector inside.
        selector: the selector inside, whose needs the wrapper has too.
        learns: whether the wrapper learns from labels itself.
    """

    def __init__(self, inner: str, selector: Selector, learns: bool = False) -> None:
        super().__init__()
        self._inner = inner
        self._learns = learns
        self.add_module(inner, selector)
        self.evidence = selector.evidence

    @property
    def wrapped(self) -> Selector:
        """The selector inside."""
        selector: Selector = getattr(self, self._inner)
        return selector

    @property
    def needs(self) -> Needs:
        inner = self.wrapped.needs
        return replace(inner, labels=inner.labels or self._learns)

    def on_train_start(self, total_steps: int) -> None:
        self.wrapped.on_train_start(total_steps)

    def fit_pool(
        self, features: Tensor, labels: Tensor, pool: Tensor, num_classes: int, *, ignore_index: int = 255
    ) -> WrapperSelector:
        self.wrapped.fit_pool(features, labels, pool, num_classes, ignore_index=ignore_index)
        return self

    def update_from_labels(self, logits: Tensor, target: Tensor, ignore_index: int = 255) -> None:
        self.wrapped.update_from_labels(logits, target, ignore_index)
