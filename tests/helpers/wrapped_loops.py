"""Loops from the page on wrapping, as they were and as they are with a selector."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from residual_ssl import Selector

PAGE = Path(__file__).parents[2] / "docs" / "wrapping.md"


class Shown(NamedTuple):
    """The code without its ``+`` lines, the code without its ``-`` lines, and the ``+`` lines."""

    before: str
    after: str
    added: list[str]


def section(title: str) -> str:
    (text,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S)
    return str(text)


def shown(title: str) -> Shown:
    """The change that the section of this title shows."""
    (diff,) = re.findall(r"```diff\n(.*?)```", section(title), re.S)
    lines = diff.splitlines()
    assert all(line[:1] in ("", "+", "-", " ") for line in lines)
    before, after = ("\n".join(line[1:] for line in lines if line[:1] != sign) for sign in "+-")
    return Shown(before, after, [line for line in lines if line[:1] == "+"])


class Rule:
    """Stands for ``FixedThreshold`` in a loop: makes the given rule, and notes the coverage of what it selects.

    Args:
        make: the rule's class; called with the threshold that the page gives, or with nothing.
        threshold: whether the rule takes it.
    """

    def __init__(self, make: type[Selector], threshold: bool = False) -> None:
        self.make = make
        self.threshold = threshold
        self.coverage: list[float] = []

    def __call__(self, threshold: float) -> Selector:
        selector = self.make(threshold) if self.threshold else self.make()  # type: ignore[call-arg]
        selector.register_forward_hook(lambda module, inputs, chosen: self.coverage.append(chosen.coverage.item()))
        return selector


def run(code: str, **names: Any) -> dict[str, Any]:
    """Execute a loop; the result holds its names."""
    space = {"torch": torch, "cross_entropy": cross_entropy, **names}
    exec(compile(code, str(PAGE), "exec"), space)
    return space


def labelled_and_two_views(batches: int = 4, size: int = 16) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Batches ``x, y, weak, strong`` of points ``(B, 2)`` around three centres."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.tensor([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])

    def points() -> tuple[Tensor, Tensor]:
        label = torch.randint(3, (size,), generator=generator)
        return centres[label] + 0.7 * torch.randn(size, 2, generator=generator), label

    made = []
    for _ in range(batches):
        (x, y), (weak, _) = points(), points()
        made.append((x, y, weak, weak + 0.3 * torch.randn(size, 2, generator=generator)))
    return made


def classifier() -> torch.nn.Module:
    """A linear model of three classes, sure of some of the points above and not of all."""
    model = torch.nn.Linear(2, 3)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.2, 0.1], [-0.6, 1.0], [-0.5, -1.1]]))
        model.bias.zero_()
    return model
