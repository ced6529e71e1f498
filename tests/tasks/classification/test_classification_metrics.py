"""Accuracy, error, balanced accuracy and recall, by counting samples."""

from pathlib import Path

import pytest
import torch
from helpers.tiny_runs import tiny_digits

from residual_ssl.config.components import build
from residual_ssl.data import OUTSIDE
from residual_ssl.errors import ConfigError
from residual_ssl.tasks.classification import ClassificationTask


@pytest.fixture
def task(tmp_path: Path) -> ClassificationTask:
    made: ClassificationTask = build(tiny_digits(tmp_path)["task"], "task")
    return made


def test_figures_count_the_samples_of_the_whole_set(task: ClassificationTask) -> None:
    generator = torch.Generator().manual_seed(0)
    metric, right, seen = task.metric(), [0] * 10, [0] * 10
    for _ in range(3):
        logits = torch.randn(40, 10, generator=generator)
        target = torch.randint(0, 9, (40,), generator=generator)  # no nines
        logits[torch.arange(40), target] += 1
        metric.update(logits, target)
        for found, true in zip(logits.argmax(1).tolist(), target.tolist(), strict=True):
            seen[true] += 1
            right[true] += found == true
    figures = task.summary(metric.compute())
    recall = [100 * r / s for r, s in zip(right[:9], seen[:9], strict=True)]
    assert figures["accuracy"] == pytest.approx(100 * sum(right) / 120)
    assert figures["error"] == pytest.approx(100 - figures["accuracy"])
    assert figures["balanced_accuracy"] == pytest.approx(sum(recall) / 9)
    assert [figures[f"recall/{k}"] for k in range(9)] == pytest.approx(recall)
    assert "recall/9" not in figures
    assert task.main_metric == "accuracy"


def test_strangers_and_unknown_samples_have_a_truth_of_their_own(task: ClassificationTask) -> None:
    data = task.unlabelled(0)
    data.samples.labels = (OUTSIDE, None, 3, *data.samples.labels[3:])  # type: ignore[attr-defined]
    assert [data[i, 0]["truth"].item() for i in range(3)] == [OUTSIDE, task.ignore_index, 3]


def test_classes_are_two_or_more_different_names(tmp_path: Path) -> None:
    config = tiny_digits(tmp_path)["task"]
    for classes in (["one"], ["one", "two", "one"]):
        with pytest.raises(ConfigError, match=r"classes: got \['one'"):
            build(config | {"classes": classes}, "task")
