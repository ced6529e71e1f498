"""The task of one's own on docs/tasks.md keeps the contract of tasks, and trains from the files shown."""

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from test_documentation import blocks

from residual_ssl import Task, compose, train
from residual_ssl.testing import TaskContract

PAGE = (Path(__file__).parents[1] / "docs" / "tasks.md").read_text()


@pytest.fixture
def waves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module on the page, in a folder with the configurations on the page."""
    (module,) = blocks("python", PAGE)
    (tmp_path / "waves.py").write_text(module)
    names = re.findall(r"`configs/(\w+/waves\.yaml)`", PAGE)
    for name, text in zip(names, blocks("yaml", PAGE), strict=True):
        (tmp_path / "configs" / name).parent.mkdir(parents=True)
        (tmp_path / "configs" / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "waves", raising=False)
    return importlib.import_module("waves")


class TestWaves(TaskContract):
    @pytest.fixture
    def task(self, waves: Any) -> Task:
        task: Task = waves.WaveTask()
        return task


@pytest.mark.parametrize("algorithm", ["supervised", "csl", "unimatch_v2", "mean_teacher"])
@pytest.mark.usefixtures("waves")
def test_it_trains_with_any_algorithm(algorithm: str, tmp_path: Path) -> None:
    length = ["steps=2", "warmup_steps=0", "labelled_batch=2", "unlabelled_batch=2"]
    choice = ["dataset=waves", f"algorithm={algorithm}", f"run_dir={tmp_path / 'run'}", *length]
    result = train(compose(choice, config_dir=tmp_path / "configs"))
    assert 0 < result.last["accuracy"] < 100
