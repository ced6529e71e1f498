"""Both tasks keep what algorithms rely on."""

from pathlib import Path

import pytest
from helpers.tiny_runs import tiny_config, tiny_digits

from residual_ssl.config.components import build
from residual_ssl.task import Task
from residual_ssl.testing import TaskContract


class TestSegmentation(TaskContract):
    @pytest.fixture
    def task(self, tmp_path: Path) -> Task:
        made: Task = build(tiny_config(tmp_path)["task"], "task")
        return made


class TestClassification(TaskContract):
    @pytest.fixture
    def task(self, tmp_path: Path) -> Task:
        made: Task = build(tiny_digits(tmp_path)["task"], "task")
        return made
