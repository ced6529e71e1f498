"""Every public rule describes itself in the same labelled parts, and every configuration builds one."""

from pathlib import Path

import pytest

from residual_ssl import Selector, compose
from residual_ssl.config.components import build
from residual_ssl.errors import InvalidInputError
from residual_ssl.selection import described, selector_classes

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "selector").glob("*.yaml"))


@pytest.mark.parametrize("rule", selector_classes().values(), ids=lambda rule: rule.__name__)
def test_each_part_is_there_and_on_one_line(rule: type[Selector]) -> None:
    parts = described(rule)
    assert list(parts) == ["Formula", "State", "Cost", "Use", "Source"]
    assert all(text and "\n" not in text and "Args:" not in text for text in parts.values())


def test_a_rule_that_says_nothing_is_named() -> None:
    class Silent(Selector):
        """Says nothing."""

    with pytest.raises(InvalidInputError, match=r"selector: got Silent, .* no part Formula, State, Cost, Use, Source"):
        described(Silent)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_each_configuration_builds_a_rule(path: Path) -> None:
    config = compose([f"selector={path.stem}", "algorithm=fixmatch"])["algorithm"]["selector"]
    assert isinstance(build(config, "selector"), Selector)
