"""The list of what can be chosen: every file of a group, and what it says of itself."""

from pathlib import Path

import pytest

from residual_ssl.cli import main
from residual_ssl.commands.catalogue.choices import GROUPS, choices

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize("group", GROUPS)
def test_every_choice_is_listed_and_says_what_it_is(group: str) -> None:
    found = choices(group)
    assert set(found) == {path.stem for path in (CONFIGS / GROUPS[group]).glob("*.yaml")}
    assert [name for name, text in found.items() if len(text) < 5] == []


def test_the_command_lists_one_group_or_all(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["list", "algorithms"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("csl  ") and "CSL, arXiv 2509.16704" in line for line in lines)
    assert max(map(len, lines)) <= 80
    assert main(["list", "--long"]) == 0
    said = capsys.readouterr().out
    assert all(f"{folder}=" in said for folder in GROUPS.values())


def test_own_choices_are_listed_and_other_groups_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "mine.yaml").write_text("# My photographs.\ndefaults: [folders, _self_]\n")
    assert main(["list", "datasets", "--config-dir", str(tmp_path)]) == 0
    assert "My photographs." in capsys.readouterr().out
    assert main(["list", "networks"]) == 2
    assert "group: got 'networks', expected one of algorithms, selectors" in capsys.readouterr().err
