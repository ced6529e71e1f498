"""What the README shows works as it stands there."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from residual_ssl import compose, train

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
TEXTS = {"architecture.md", "glossary.md", "methods.md", "reliability.md"}  # pages without an example
PAGES = [ROOT / "README.md", *(page for page in sorted((ROOT / "docs").glob("*.md")) if page.name not in TEXTS)]


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_examples_run_one_after_the_other(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # runs are written into the folder one is in
    names: dict[str, object] = {}
    found = blocks("python", page.read_text())
    assert found
    for block in found:
        exec(compile(block, str(page), "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


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
