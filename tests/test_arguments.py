"""Ranges declared with arguments: every fault at once, by Python and by configuration."""

from typing import Literal

import pytest

from residual_ssl import compose
from residual_ssl.config.settings import Settings
from residual_ssl.errors import ConfigError, InvalidInputError
from residual_ssl.runtime.arguments import Count, Index, OddCount, Positive, Share, ShareBelowOne, checked
from residual_ssl.selection import CAFSThreshold, ConvexSelector


class Thing:
    @checked
    def __init__(
        self,
        share: Share = 0.5,
        below: ShareBelowOne = 0.5,
        width: Positive | None = None,
        count: Count = 1,
        index: Index = 0,
        side: OddCount = 1,
        scope: Literal["batch", "sample"] = "batch",
        other: object = None,
    ) -> None:
        self.given = (share, below, width, count, index, side, scope, other)


def test_values_in_their_ranges_reach_the_constructor() -> None:
    values = (1, 0.0, None, 3, 0, 5, "sample", "anything")
    assert Thing(*values).given == values
    assert Thing(width=0.1).given[2] == 0.1


def test_every_fault_is_named_at_once() -> None:
    with pytest.raises(InvalidInputError) as raised:
        Thing(1.5, 1, -2, 0, -1, 4, "image")  # type: ignore[arg-type]
    assert str(raised.value).splitlines() == [
        "share: got 1.5, expected a number in [0, 1]",
        "below: got 1, expected a number in [0, 1)",
        "width: got -2, expected a number > 0",
        "count: got 0, expected an integer ≥ 1",
        "index: got -1, expected an integer ≥ 0",
        "side: got 4, expected an odd integer ≥ 1",
        "scope: got 'image', expected one of 'batch', 'sample'",
    ]


@pytest.mark.parametrize("value", ["0.9", None, [0.9], float("nan")])
def test_a_value_of_another_kind_is_outside(value: object) -> None:
    with pytest.raises(InvalidInputError, match=r"^share: got .*, expected a number in \[0, 1\]$"):
        Thing(share=value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [True, 2.0])
def test_a_count_is_an_integer(value: object) -> None:
    with pytest.raises(InvalidInputError, match=r"^count: got .*, expected an integer ≥ 1$"):
        Thing(count=value)  # type: ignore[arg-type]


def test_a_selector_names_all_its_faults() -> None:
    with pytest.raises(InvalidInputError) as raised:
        ConvexSelector("cls", alpha=0, gamma=-1, window=0)  # type: ignore[arg-type]
    assert [line.split(":")[0] for line in str(raised.value).splitlines()] == ["variant", "alpha", "gamma", "window"]
    with pytest.raises(InvalidInputError, match=r"low: got 0.9, expected at most high, 0.5"):
        CAFSThreshold(low=0.9, high=0.5)


def test_a_configuration_is_refused_before_anything_is_built() -> None:
    config = compose(["algorithm=fixmatch", "selector=fixed_threshold", "selector.threshold=95", "run_dir=x"])
    config["algorithm"]["branches"]["strong"]["mix"]["probability"] = 2
    with pytest.raises(ConfigError) as raised:
        Settings.from_config(config)
    said = str(raised.value)
    assert "selector.threshold: got 95, expected a number in [0, 1]" in said
    assert "probability: got 2, expected a number in [0, 1]" in said
