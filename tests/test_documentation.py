"""What the README, the guides and the pages of the site show works as it stands there."""

import json
import re
import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from residual_ssl import compose, train

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
TEXTS = {"architecture.md", "glossary.md", "methods.md", "reliability.md"}  # pages without an example
PAGES = [ROOT / "README.md", *(page for page in sorted((ROOT / "docs").glob("*.md")) if page.name not in TEXTS)]
SITE = sorted((ROOT / "docs" / "site").glob("*.md"))


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


@pytest.mark.parametrize(
    "page", [*PAGES, *(page for page in SITE if blocks("python", page.read_text()))], ids=lambda page: page.name
)
def test_python_examples_run_one_after_the_other(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # runs are written into the folder one is in
    names: dict[str, object] = {}
    found = blocks("python", page.read_text())
    assert found
    for block in found:
        exec(compile(block, str(page), "exec"), names)


@pytest.mark.parametrize("page", [*PAGES, *SITE, ROOT / "docs/notebooks/README.md"], ids=lambda page: page.name)
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def own_images(folder: Path) -> None:
    """The folders that the pages speak of: photos with some masks, and animals in a folder for each class."""
    rng = np.random.default_rng(0)
    for i in range(12):
        pixels, mask = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8), np.zeros((32, 32), np.uint8)
        mask[8:20, 4 + i : 16 + i] = 1
        for name, image in ((f"photos/{i}.png", pixels), (f"masks/{i}.png", mask if i < 8 else None)):
            (folder / name).parent.mkdir(exist_ok=True)
            if image is not None:
                Image.fromarray(image).save(folder / name)
        for kind in ("cat", "dog"):
            (folder / "animals" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / f"animals/{kind}/{i}.png")


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in SITE if blocks("bash", page.read_text())], ids=lambda page: page.name
)
def test_commands_of_the_site_run_one_after_the_other(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from residual_ssl.cli import main

    monkeypatch.chdir(tmp_path)
    own_images(tmp_path)
    short = ["steps=1", "warmup_steps=0", "device=cpu", "labelled_batch=2", "unlabelled_batch=2"]
    for line in "".join(blocks("bash", page.read_text())).splitlines():
        program, command, *words = shlex.split(line)
        assert program == "residual-ssl"
        assert main([command, *words, *(short if command == "train" else [])]) == 0, (line, capsys.readouterr().err)


def test_trainings_that_the_site_shows_compose() -> None:
    shown = [line for page in SITE for line in re.findall(r"^ +(.* train experiment=.*)$", page.read_text(), re.M)]
    assert len(shown) >= 5
    for line in shown:
        compose(line.split(" train ")[1].split())


@pytest.mark.parametrize(
    "name", ["wrap_a_selector", pytest.param("own_images", marks=pytest.mark.slow), "choose_a_selector"]
)
def test_notebooks_are_executed_small_and_run_anew(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = ROOT / "docs" / "notebooks" / f"{name}.ipynb"
    assert path.stat().st_size < 120_000
    code = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    kinds = {output["output_type"] for cell in code for output in cell["outputs"]}
    assert "stream" in kinds
    assert "error" not in kinds
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for cell in code:
        exec(compile("".join(cell["source"]), str(path), "exec"), names)


def test_every_notebook_is_tested_and_listed() -> None:
    folder = ROOT / "docs" / "notebooks"
    names = {path.stem for path in folder.glob("*.ipynb")}
    assert names == {"wrap_a_selector", "own_images", "choose_a_selector"}
    assert names == set(re.findall(r"\((\w+)\.ipynb\)", (folder / "README.md").read_text()))


def test_every_page_is_in_the_contents_of_the_site() -> None:
    listed = {page for pages in runpy.run_path(str(ROOT / "docs/site/conf.py"))["CONTENTS"].values() for page in pages}
    further = ("benchmarks/README.md", "examples/README.md", ".github/SECURITY.md")
    found = [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / name for name in further)]
    assert listed | {"README"} == {page.relative_to(ROOT).with_suffix("").as_posix() for page in found}


def test_a_data_set_of_ones_own_trains_after_the_yaml_file_shown(tmp_path: Path) -> None:
    (text,) = blocks("yaml")
    assert len(text.splitlines()) <= 15
    rng = np.random.default_rng(0)
    for part, count, masks in (("train", 12, 6), ("val", 2, 2)):
        for kind, number in (("images", count), ("masks", masks)):
            (tmp_path / "mine" / part / kind).mkdir(parents=True)
            for i in range(number):
                shape = (20, 24, 3) if kind == "images" else (20, 24)
                high = 256 if kind == "images" else 2
                pixels = rng.integers(0, high, shape, dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "mine" / part / kind / f"{i}.png")
    (tmp_path / "configs" / "dataset").mkdir(parents=True)
    mine = text.replace("/data/mine", str(tmp_path / "mine"))
    (tmp_path / "configs" / "dataset" / "mine.yaml").write_text(mine)
    overrides = ["dataset=mine", "algorithm=csl", "steps=1", "warmup_steps=0", "device=cpu", "evaluation_batch=1"]
    small = ["dataset.geometry.crop=32", "labelled_batch=2", "unlabelled_batch=2", f"run_dir={tmp_path / 'run'}"]
    result = train(compose([*overrides, *small], config_dir=tmp_path / "configs"))
    assert result.last["step"] == 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_trainings_shown_with_a_pool_compose(page: Path) -> None:
    shown = re.findall(r"^ +residual-ssl train (.*pool=labelled.*)$", page.read_text(), re.M)
    assert shown or page.name not in ("README.md", "pools.md")
    for line in shown:
        config = compose(line.split())
        assert config["task"]["source"]["_target_"] == "residual_ssl.data.WithLabelledPool"


def test_every_command_shown_is_one() -> None:
    from residual_ssl.cli import command_parser

    shown = re.findall(r"^    residual-ssl (\w+)", README, re.M)
    known = command_parser()._subparsers._group_actions[0].choices  # type: ignore[union-attr]
    assert set(shown) == set(known)  # type: ignore[arg-type]
