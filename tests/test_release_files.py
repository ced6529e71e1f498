"""Files that others read: citation, issue forms, hooks, image. What they say is so."""

import re
from pathlib import Path

import pytest
import yaml

import residual_ssl
from residual_ssl.cli import command_parser

ROOT = Path(__file__).parents[1]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yaml"))


def test_the_citation_has_the_version_and_the_licence() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == residual_ssl.__version__
    assert citation["license"] == "Apache-2.0"
    assert citation["authors"] == [{"name": "residual_ssl contributors"}]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.stem)
def test_issue_forms_ask_for_what_the_doctor_prints(form: Path) -> None:
    asked = yaml.safe_load(form.read_text())
    assert {"name", "description", "body"} <= set(asked)
    fields = {field["id"]: field["attributes"]["label"] for field in asked["body"]}
    assert "residual-ssl doctor" in fields["doctor"]


def test_hooks_run_programs_that_make_installs() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    entries = [hook["entry"] for repo in config["repos"] for hook in repo["hooks"]]
    makefile = (ROOT / "Makefile").read_text()
    for entry in entries:
        program, *rest = entry.split()
        assert program.startswith(".venv/bin/") or f"\n{rest[0]}:" in makefile


def test_the_image_copies_what_an_installation_needs_and_starts_the_command() -> None:
    text = (ROOT / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (.+) /source", text, re.M)
    files = {name for line in copied for name in line.split()}
    assert {"pyproject.toml", "README.md", "LICENSE", "residual_ssl", "tasks", "configs"} <= files
    assert all((ROOT / name).exists() for name in files)
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert files == kept
    assert 'ENTRYPOINT ["residual-ssl"]' in text
    commands = set(re.findall(r"residual-ssl (\w+) ", text))
    known = set(command_parser()._subparsers._group_actions[0].choices)  # type: ignore[union-attr]
    assert commands <= known
    extras = re.search(r"EXTRAS=(\S+)", text)
    assert extras is not None
    project = (ROOT / "pyproject.toml").read_text()
    assert all(f"\n{extra} = [" in project for extra in extras.group(1).split(","))
