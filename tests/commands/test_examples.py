"""The packages in ``examples``: found by their entry point as an installation has it, and their own tests pass."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/pyproject.toml"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that has all examples as an installation does."""
    folder = tmp_path_factory.mktemp("site")
    for name in NAMES:
        project = tomllib.loads((EXAMPLES / name / "pyproject.toml").read_text())
        for package in project["tool"]["setuptools"]["packages"]:
            shutil.copytree(EXAMPLES / name / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        told = folder / f"{project['project']['name'].replace('-', '_')}-{project['project']['version']}.dist-info"
        told.mkdir()
        (told / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {project['project']['name']}\nVersion: {project['project']['version']}\n"
        )
        groups = project["project"]["entry-points"]
        lines = [f"[{group}]\n" + "\n".join(f"{k} = {v}" for k, v in found.items()) for group, found in groups.items()]
        (told / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


def python(site: Path, *arguments: str, cwd: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    environment.pop("RESIDUAL_SSL_ALLOW", None)
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_there_are_examples_and_the_page_lists_them() -> None:
    assert NAMES
    page = (EXAMPLES / "README.md").read_text()
    assert all(f"]({name}/README.md)" in page for name in NAMES)


def test_their_choices_are_listed_like_any_other(site: Path) -> None:
    listing = "from residual_ssl.cli import main; main(['list', 'experiments'])"
    said = python(site, "-c", listing, cwd=site)
    experiments = [path.stem for path in EXAMPLES.glob("*/*/configs/experiment/*.yaml")]
    assert experiments
    assert all(f"{experiment} " in said for experiment in experiments)


@pytest.mark.parametrize("name", NAMES)
def test_their_own_tests_pass(name: str, site: Path) -> None:
    said = python(site, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", cwd=EXAMPLES / name)
    assert " passed" in said
    assert "failed" not in said


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_pip_installs_them_whole(name: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(EXAMPLES / name, source)
    pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    python(tmp_path, *pip, "--target", str(tmp_path / "site"), str(source), cwd=tmp_path)
    for file in EXAMPLES.glob(f"{name}/*/configs/*/*.yaml"):
        assert (tmp_path / "site" / file.relative_to(EXAMPLES / name)).is_file()
