"""A new package with a task or a selector: it works as written, and is found once it is installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from residual_ssl.cli import main
from residual_ssl.commands.extension import KINDS, new_extension
from residual_ssl.errors import ConfigError

NAMES = {"task": "tone_steps", "selector": "margin_rule"}


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both packages, and a folder ``site`` that has them as an installation does."""
    folder = tmp_path_factory.mktemp("extensions")
    for kind, name in NAMES.items():
        new_extension(kind, name, folder / name)
        shutil.copytree(folder / name / name, folder / "site" / name)
        told = folder / "site" / f"{name}-0.1.0.dist-info"
        told.mkdir()
        (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
        (told / "entry_points.txt").write_text(f"[residual_ssl.extensions]\n{name} = {name}\n")
    return folder


def python(site: Path, *arguments: str, cwd: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    environment.pop("RESIDUAL_SSL_ALLOW", None)
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_installed_extension_is_a_choice_like_any_other(packages: Path) -> None:
    code = (
        "from residual_ssl import compose; from residual_ssl.cli import main;"
        "from residual_ssl.config.components import build;"
        "main(['list', 'selectors']); main(['list', 'datasets']);"
        "main(['explain', 'selector.margin', 'selector=margin_rule']);"
        "config = compose(['dataset=tone_steps', 'algorithm=fixmatch', 'selector=margin_rule', 'selector.margin=0.3']);"
        "print(build(config['task'], 'task').main_metric, build(config['algorithm'], 'algorithm').selector)"
    )
    said = python(packages / "site", "-c", code, cwd=packages)
    assert "margin_rule         MarginRule: the margin between the two likeliest classes." in said
    assert "tone_steps " in said
    assert "set by  selector/margin_rule.yaml: 0.9" in said
    assert said.splitlines()[-1] == "accuracy MarginRule(margin=0.3)"


def test_without_its_installation_it_is_none(packages: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "residual_ssl", "train", "selector=margin_rule", "--print-config"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "selector: got 'margin_rule', expected one of" in done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_no_name_of_the_template_is_left(kind: str, packages: Path) -> None:
    texts = [path.read_text() for path in (packages / NAMES[kind]).rglob("*") if path.is_file()]
    assert len(texts) >= 6
    for token in ("my_extension", "my-extension", "MyThing", "NAME"):
        assert not [text for text in texts if token in text]


def test_the_packages_pass_the_linter(packages: Path) -> None:
    rules = ["--isolated", "--select", "E,F,W,I,B,UP,RUF", "--line-length", "120"]
    command = [sys.executable, "-m", "ruff", "check", *rules]
    for name in NAMES.values():
        done = subprocess.run([*command, "."], cwd=packages / name, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_its_own_tests_pass_where_pip_installed_it(kind: str, packages: Path, tmp_path: Path) -> None:
    name, site = NAMES[kind], tmp_path / "site"
    pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(site)]
    python(packages / "nowhere", *pip, str(packages / name), cwd=tmp_path)
    said = python(site, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=packages / name)
    assert " passed" in said
    assert "failed" not in said


def test_the_command_says_what_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", "selector", "my_rule"]) == 0
    said = capsys.readouterr().out
    assert "residual-ssl train experiment=digits selector=my_rule algorithm=fixmatch" in said
    assert (tmp_path / "my_rule" / "my_rule" / "configs" / "selector" / "my_rule.yaml").is_file()
    assert main(["new", "selector", "my_rule"]) == 2
    assert "my_rule is there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("My-Rule", "expected lower-case letters"),
        ("class", "expected lower-case letters"),
        ("csl", "a choice or an installed package has"),
        ("numpy", "a choice or an installed package has"),
    ],
)
def test_names_that_cannot_be_are_refused(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        new_extension("selector", name, tmp_path / "new")
    assert not (tmp_path / "new").exists()
