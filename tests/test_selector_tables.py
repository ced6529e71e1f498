"""The page on selectors says what the docstrings of the rules and the configurations say."""

import re
import runpy
from pathlib import Path

from residual_ssl.selection import selector_classes

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "selectors.md").read_text()
SCRIPT = runpy.run_path(str(ROOT / "docs" / "scripts" / "selector_tables.py"))


def test_the_page_is_as_the_script_writes_it() -> None:
    assert SCRIPT["rewritten"](PAGE) == PAGE, (
        "docs/selectors.md is out of date: run python docs/scripts/selector_tables.py"
    )


def test_an_edited_row_is_put_right() -> None:
    edited = PAGE.replace("| one pass. |", "| nothing at all. |", 1)
    assert edited != PAGE
    assert SCRIPT["rewritten"](edited) == PAGE


def test_each_rule_has_one_row_of_all_columns() -> None:
    rows = re.findall(r"^\| \[`(\w+)`\].*$", PAGE, re.M)
    assert sorted(rows) == sorted(selector_classes())
    columns = [len(re.findall(r"(?<!\\)\|", line)) for line in PAGE.splitlines() if line.startswith("|")]
    assert set(columns) == {len(SCRIPT["COLUMNS"]) + 1}


def test_each_configuration_is_named_by_a_rule_of_its_own() -> None:
    configs = SCRIPT["configurations"]()
    named = {name for names in configs.values() for name in names}
    assert named == {path.stem for path in (ROOT / "configs" / "selector").glob("*.yaml")}
    assert configs["DistributionAlignment"] == ["adamatch", "iomatch", "softmatch"]
    assert configs["AdaMatchThreshold"] == ["adamatch"]
    assert "csl_cvxpylayers" in configs["ConvexSelector"]  # by its defaults list


def test_what_a_loop_must_do_stands_in_the_heading_over_a_rule() -> None:
    needs = {name: SCRIPT["needs"](rule) for name, rule in selector_classes().items()}
    assert needs["FixedThreshold"] == "nothing"
    assert needs["CorrMatchThreshold"] == "memory"
    assert needs["AdaMatchThreshold"] == "observe"
    assert needs["LearnedConvexSelector"] == "fit"
    assert needs["AgreementThreshold"] == "evidence"


def test_docstrings_become_markdown() -> None:
    text = ":meth:`update_from_labels` of ``p(y|x)``, arXiv 2001.07685"
    assert SCRIPT["markdown"](text) == (
        r"`update_from_labels` of `p(y\|x)`, [arXiv 2001.07685](https://arxiv.org/abs/2001.07685)"
    )
