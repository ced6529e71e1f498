"""Plain loops with a selector: three lines change, and the loss does not, until another rule takes the place."""

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers.wrapped_loops import Rule, classifier, labelled_and_two_views, run, section, shown
from torch import Tensor, nn

from residual_ssl import ConvexSelector, FixedThreshold, Selector
from residual_ssl.algorithms.ema import EMATeacher
from residual_ssl.selection import FreeMatchThreshold

LOOPS = ["FixMatch", "UniMatch", "Mean Teacher"]
RULES = [ConvexSelector, FreeMatchThreshold]


def segmenter() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Conv2d(3, 4, 3, padding=1)
    with torch.no_grad():
        model.weight.mul_(6)
    return model


def images(batches: int = 3) -> list[Any]:
    """Labelled images, two unlabelled batches with padding at the right, and boxes."""
    generator = torch.Generator().manual_seed(1)

    def unlabelled(padding: int) -> tuple[Tensor, Tensor, Tensor]:
        weak = torch.randn(2, 3, 8, 8, generator=generator)
        ignore = torch.zeros(2, 8, 8, dtype=torch.int64)
        ignore[..., 8 - padding :] = 255
        return weak, weak + 0.1 * torch.randn(weak.shape, generator=generator), ignore

    made = []
    for _ in range(batches):
        y = torch.randint(4, (2, 8, 8), generator=generator)
        y[:, 0] = 255
        box = torch.zeros(2, 8, 8, dtype=torch.bool)
        box[:, 2:6, 3:8] = True
        made.append(((torch.randn(2, 3, 8, 8, generator=generator), y), unlabelled(1), unlabelled(3), box))
    return made


def trained(title: str, code: str, rule: Callable[[float], Selector] | None = None) -> dict[str, Any]:
    """The names of a loop after its run, with ``start``, the model's weights before it."""
    model = segmenter() if title == "UniMatch" else classifier()
    loader = images() if title == "UniMatch" else labelled_and_two_views()
    start = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    names = {"FixedThreshold": rule, "EMATeacher": EMATeacher} if rule else {"copy": copy}
    return run(code, model=model, loader=loader, optimizer=optimizer, **names) | {"start": start}


def moved(names: dict[str, Any]) -> bool:
    return not any(torch.equal(new, names["start"][name]) for name, new in names["model"].state_dict().items())


@pytest.mark.parametrize("title", LOOPS)
def test_three_lines_change(title: str) -> None:
    assert len(shown(title).added) == 3


@pytest.mark.parametrize("title", LOOPS)
def test_the_rule_of_the_loop_gives_the_loss_that_it_gave_before(title: str) -> None:
    loop, rule = shown(title), Rule(FixedThreshold, threshold=True)
    before, after = trained(title, loop.before), trained(title, loop.after, rule)
    assert moved(before)
    assert all(0 < coverage < 1 for coverage in rule.coverage)
    torch.testing.assert_close(after["loss_u"], before["loss_u"])
    torch.testing.assert_close(after["loss"], before["loss"])
    torch.testing.assert_close(after["model"].state_dict(), before["model"].state_dict())
    if "teacher" in before:
        teacher = after["teacher"].model.state_dict()
        torch.testing.assert_close(teacher, before["teacher"].state_dict())


@pytest.mark.parametrize("make", RULES)
@pytest.mark.parametrize("title", LOOPS)
def test_any_other_rule_goes_in_its_place(title: str, make: type[Selector]) -> None:
    loop, rule = shown(title), Rule(make)
    before, after = trained(title, loop.before), trained(title, loop.after, rule)
    assert moved(after)
    assert all(0 < coverage <= 1 for coverage in rule.coverage)
    assert len(rule.coverage) >= 3
    assert not torch.allclose(after["loss_u"], before["loss_u"], rtol=1e-3)


def test_mixed_selections_carry_the_validity_of_each_pixels_image() -> None:
    names = trained("UniMatch", shown("UniMatch").after, FixedThreshold)
    valid = torch.ones(2, 8, 8, dtype=torch.bool)
    valid[..., 7:] = False  # own padding
    valid[:, 2:6, 3:8] = True  # the box, with the other's padding
    valid[:, 2:6, 5:8] = False
    assert torch.equal(names["chosen"].valid, valid)
    assert not names["chosen"].weight[~valid].any()


def test_two_batches_judged_at_once_mix_as_two_judged_by_themselves() -> None:
    torch.manual_seed(0)
    (block,) = re.findall(r"```python\n(.*?)```", section("UniMatch"), re.S)
    rule = FixedThreshold(0.4)
    names = run(block, selector=rule)
    expected = rule(names["weak_logits"]).mixed(rule(names["other_logits"]), names["box"])
    assert torch.equal(names["chosen"].weight, expected.weight)
    assert torch.equal(names["chosen"].label, expected.label)
    assert 0 < expected.coverage < 1
