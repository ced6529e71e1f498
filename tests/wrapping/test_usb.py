"""A selector as the masking hook of USB, whose algorithms call hooks by name and multiply their loss by the mask."""

import re
from typing import Any

import pytest
import torch
from helpers.wrapped_loops import Rule, classifier, labelled_and_two_views, run, section, shown
from torch import Tensor
from torch.nn.functional import cross_entropy

from residual_ssl import ConvexSelector, FixedThreshold, Selector
from residual_ssl.selection import FreeMatchThreshold

SelectorHook: Any = run("\n".join(re.findall(r"```python\n(.*?)```", section("USB"), re.S)))["SelectorHook"]


class ThresholdHook:
    """The mask of FixMatch, from its definition."""

    def masking(self, algorithm: "FixMatch", logits_x_ulb: Tensor, softmax_x_ulb: bool = True) -> Tensor:
        probability = logits_x_ulb.softmax(-1) if softmax_x_ulb else logits_x_ulb
        return (probability.amax(-1) >= 0.95).to(probability.dtype)


class FixMatch:
    """What a hook sees of an algorithm of USB: it is registered and called by name, with probabilities."""

    def __init__(self) -> None:
        self.hooks: dict[str, Any] = {}
        self.model = classifier()
        self.set_hooks()

    def set_hooks(self) -> None:
        self.register_hook(ThresholdHook(), "MaskingHook")

    def register_hook(self, hook: Any, name: str) -> None:
        self.hooks[name] = hook

    def call_hook(self, function: str, name: str, *args: Any, **kwargs: Any) -> Any:
        return getattr(self.hooks[name], function)(self, *args, **kwargs)

    def train(self) -> float:
        optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        for x, y, weak, strong in labelled_and_two_views():
            probability = self.model(weak).detach().softmax(-1)
            mask = self.call_hook("masking", "MaskingHook", logits_x_ulb=probability, softmax_x_ulb=False)
            every = cross_entropy(self.model(strong), probability.argmax(-1), reduction="none")
            loss: Tensor = cross_entropy(self.model(x), y) + (every * mask).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return loss.item()


def selective(rule: Rule) -> FixMatch:
    names = run(shown("USB").after, FixMatch=FixMatch, SelectorHook=SelectorHook, FixedThreshold=rule)
    made: FixMatch = names["SelectiveFixMatch"]()
    return made


def test_one_line_registers_the_hook() -> None:
    assert len(shown("USB").added) == 1


def test_the_threshold_as_a_selector_gives_the_loss_of_the_library() -> None:
    rule = Rule(FixedThreshold, threshold=True)
    before, after = FixMatch(), selective(rule)
    assert after.train() == pytest.approx(before.train(), rel=1e-6)
    assert all(0 < coverage < 1 for coverage in rule.coverage)
    assert not torch.equal(after.model.weight, classifier().weight)
    torch.testing.assert_close(after.model.state_dict(), before.model.state_dict())


@pytest.mark.parametrize("make", [ConvexSelector, FreeMatchThreshold])
def test_any_other_rule_goes_in_its_place(make: type[Selector]) -> None:
    rule = Rule(make)
    before, after = FixMatch(), selective(rule)
    assert after.train() != pytest.approx(before.train(), rel=1e-3)
    assert all(0 < coverage <= 1 for coverage in rule.coverage)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_probabilities_and_logits_get_one_mask(dtype: torch.dtype) -> None:
    logits = 3 * torch.randn(200, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    hook = SelectorHook(FixedThreshold(0.8))
    expected = logits.softmax(1).amax(1) >= 0.8
    sure = (logits.softmax(1).amax(1) - 0.8).abs() > 0.02  # beside the rounding of half precision
    for mask in (
        hook.masking(None, logits.to(dtype)),
        hook.masking(None, logits_x_ulb=logits.softmax(1).to(dtype), softmax_x_ulb=False, idx_ulb=None),
    ):
        assert torch.equal(mask.bool()[sure], expected[sure])
    assert 0 < expected.double().mean() < 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_probabilities_rounded_to_nothing_are_no_reason_to_leave_a_point_out(dtype: torch.dtype) -> None:
    probability = torch.tensor([[1.0, 0.0, 0.0], [0.6, 0.4, 0.0]], dtype=dtype)
    mask = SelectorHook(FixedThreshold(0.95)).masking(None, probability, softmax_x_ulb=False)
    assert mask.tolist() == [1.0, 0.0]
