"""Rules by name."""

from pathlib import Path

import pytest

from residual_ssl import ConvexSelector, FixedThreshold
from residual_ssl.commands.comparison.selectors import build_selectors, split_names
from residual_ssl.errors import ConfigError, MissingDataError


def test_rules_are_those_of_the_configurations_with_arguments_changed_or_added() -> None:
    rules = build_selectors(["covar", "fixed_threshold", "csl:alpha=2.5:scope=batch"])
    assert list(rules) == ["covar", "fixed_threshold", "csl:alpha=2.5:scope=batch"]
    covar, threshold, csl = rules.values()
    assert isinstance(covar, ConvexSelector)
    assert isinstance(threshold, FixedThreshold)
    assert isinstance(csl, ConvexSelector)
    assert (covar.variant, threshold.threshold, csl.alpha, csl.scope) == ("covar", 0.95, 2.5, "batch")


def test_rules_of_the_users_own_are_found(tmp_path: Path) -> None:
    (tmp_path / "selector").mkdir()
    (tmp_path / "selector" / "half.yaml").write_text("_target_: residual_ssl.FixedThreshold\nthreshold: 0.5\n")
    (rule,) = build_selectors(["half"], config_dir=tmp_path).values()
    assert isinstance(rule, FixedThreshold)
    assert rule.threshold == 0.5


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cls", r"selector: got 'cls', expected one of .*csl.*; did you mean 'csl'\?"),
        ("fixed_threshold:0.9", r"selector fixed_threshold:0.9: got '0.9', expected KEY=VALUE"),
        (
            "fixed_threshold:treshold=0.9",
            r"treshold: residual_ssl.FixedThreshold takes no such key; it takes threshold",
        ),
        ("fixed_threshold:threshold=2", r"threshold: got 2, expected a number in \[0, 1\]"),
    ],
)
def test_a_wrong_rule_gives_one_clear_line(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        build_selectors([name])
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_config_folder_is_named() -> None:
    with pytest.raises(MissingDataError, match="config_dir: got /nowhere"):
        build_selectors(["csl"], config_dir="/nowhere")


def test_an_argument_that_is_no_value_is_a_fault_of_the_configuration() -> None:
    with pytest.raises(ConfigError):
        build_selectors(["fixed_threshold:threshold=[0.1"])


def test_names_are_separated_by_commas_outside_of_brackets() -> None:
    assert split_names(" a, b:x=[1,2]:y={z: 1, w: 2},,c ") == ["a", "b:x=[1,2]:y={z: 1, w: 2}", "c"]
