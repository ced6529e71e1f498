"""A selector of its own for each label, where a sample has several."""

from __future__ import annotations

import copy
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from residual_ssl.errors import InvalidInputError
from residual_ssl.runtime.arguments import Count, checked
from residual_ssl.selection.needs import Needs
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector


class PerLabel(Selector):
    """Judge each label by a copy of a selector, with its own memory: labels then differ in threshold and class shares.

    Points are ``(B, L)`` or ``(B, L, *S)``; copy l judges the points ``[:, l]`` of all samples and no others.

    Formula: that of the selector, for each label by itself

    State: that of the selector, L times

    Cost: that of the selector on the points of one label, L times

    Use: labels of a sample that do not exclude each other and differ in frequency or difficulty

    Source: thresholds of each class, FlexMatch (arXiv 2110.08263) and FreeMatch (arXiv 2205.07246), for labels that
    are classifiers of their own, as in multi-label learning

    Args:
        selector: which judges one label; copied, and not used itself.
        labels: L ≥ 1.

    Raises:
        InvalidInputError: when called, points of another number of labels.

    Example:
        >>> from residual_ssl import FixedThreshold
        >>> logits = torch.tensor([[[0.0, 0.0], [4.0, 1.0]]])  # one sample, two labels
        >>> PerLabel(FixedThreshold(0.9), labels=2)(logits).trusted
        tensor([[ True, False]])
    """

    @checked
    def __init__(self, selector: Selector, labels: Count) -> None:
        super().__init__()
        self.selectors = nn.ModuleList(copy.deepcopy(selector) for _ in range(labels))
        self.labels = labels
        self.evidence = selector.evidence

    @property
    def needs(self) -> Needs:
        return replace(self._each()[0].needs, pool=False)

    def on_train_start(self, total_steps: int) -> None:
        for selector in self._each():
            selector.on_train_start(total_steps)

    def update_from_labels(self, logits: Tensor, target: Tensor, ignore_index: int = 255) -> None:
        self._check(logits)
        for label, selector in enumerate(self._each()):
            selector.update_from_labels(logits[:, :, label], target[:, label], ignore_index)

    def forward(self, logits: Tensor, valid: Tensor | None = None, **evidence: Tensor) -> Selection:
        self._check(logits)
        found = []
        for label, selector in enumerate(self._each()):
            own = {name: value.select(_label_dim(name), label) for name, value in evidence.items()}
            found.append(selector(logits[:, :, label], None if valid is None else valid[:, label], **own))
        joined: dict[str, Any] = {}
        for field in fields(Selection):
            values = [getattr(one, field.name) for one in found]
            if field.name == "diagnostics":
                joined[field.name] = {name: torch.stack([one[name] for one in values]).sum() for name in values[0]}
            elif values[0] is not None:
                joined[field.name] = torch.stack(values, dim=2 if field.name in ("target", "negative") else 1)
        return Selection(**joined)

    def _each(self) -> list[Selector]:
        return list(self.selectors)  # type: ignore[arg-type]

    def _check(self, logits: Tensor) -> None:
        if logits.dim() < 3 or logits.shape[2] != self.labels:
            raise InvalidInputError(
                f"logits: got shape {tuple(logits.shape)}, expected (B, K, {self.labels}, *S), a point for each of "
                f"{self.labels} labels, as given to PerLabel"
            )


def _label_dim(evidence: str) -> int:
    """Where the labels stand: after the samples, and after what there is of each sample."""
    return {"truth": 1, "earlier": 3}.get(evidence, 2)
