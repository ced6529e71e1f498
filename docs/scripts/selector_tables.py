"""Writes the tables of docs/selectors.md from the selectors' docstrings: python docs/scripts/selector_tables.py"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from residual_ssl.selection import Selector, described, selector_classes

PAGE = Path(__file__).parents[1] / "selectors.md"
CONFIGS = Path(__file__).parents[2] / "configs" / "selector"
MARK = "<!-- From here on written by: python docs/scripts/selector_tables.py -->\n"
COLUMNS = ("Selector", "Formula", "State", "Cost", "Use", "Source", "`selector=`")
GROUPS = {
    "nothing": "From the prediction alone",
    "memory": "From predictions so far: a memory, for the checkpoint",
    "observe": "From labelled predictions too: call `update_from_labels`",
    "fit": "Fitted beforehand on labelled samples: call `fit`",
    "pool": "Fitted beforehand on features of labelled samples and pool: call `fit_pool`, pass `features`",
    "evidence": "From further evidence: pass what `evidence` names",
}


def needs(selector: type[Selector]) -> str:
    """What a loop has to do for a selector beyond a call: a key of GROUPS."""
    if selector.fit_pool is not Selector.fit_pool:
        return "pool"
    if selector.evidence:
        return "evidence"
    if hasattr(selector, "fit"):
        return "fit"
    if selector.update_from_labels is not Selector.update_from_labels:
        return "observe"
    return "nothing" if described(selector)["State"].startswith("none") else "memory"


def configurations() -> dict[str, list[str]]:
    """The names of the configurations that each selector is part of, by its name."""
    found: dict[str, list[str]] = {name: [] for name in selector_classes()}
    for path in sorted(CONFIGS.glob("*.yaml")):
        for target in sorted(set(_targets(path))):
            found[target.rpartition(".")[2]].append(path.stem)
    return found


def _targets(path: Path) -> Iterator[str]:
    config = yaml.safe_load(path.read_text())
    for base in config.pop("defaults", []):
        # A choice that stands within, as the rule of a wrapper, or the file that this one goes on from.
        name = next(iter(base.values())) if isinstance(base, dict) else base
        if name != "_self_":
            yield from _targets(path.with_stem(name))
    yield from _targets_within(config)


def _targets_within(config: dict[str, Any]) -> Iterator[str]:
    for key, value in config.items():
        if key == "_target_":
            yield value
        elif isinstance(value, dict):
            yield from _targets_within(value)


def markdown(text: str) -> str:
    """A docstring's text: roles as code, papers as links, fit for a cell."""
    text = re.sub(r":\w+:`([^`]+)`", r"`\1`", text).replace("``", "`").replace("|", r"\|")
    return re.sub(r"arXiv (\d{4}\.\d{5})", r"[arXiv \1](https://arxiv.org/abs/\1)", text)


def row(selector: type[Selector], configs: list[str]) -> str:
    module = "/".join(selector.__module__.split("."))
    evidence = "".join(f" (`{name}`)" for name in selector.evidence)
    cells = [f"[`{selector.__name__}`](../{module}.py){evidence}", *map(markdown, described(selector).values())]
    return f"| {' | '.join(cells)} | {', '.join(f'`{name}`' for name in configs)} |\n"


def tables() -> str:
    configs, parts = configurations(), []
    head = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|\n"
    for group, title in GROUPS.items():
        rows = [
            row(selector, configs[name]) for name, selector in selector_classes().items() if needs(selector) == group
        ]
        parts.append(f"\n### {title}\n\n{head}{''.join(rows)}")
    return "".join(parts)


def rewritten(page: str) -> str:
    """The page with the tables as the docstrings have them today."""
    introduction, mark, _ = page.partition(MARK)
    return introduction + mark + tables()


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text()))
