"""The table of classes at the end of a run."""

from pathlib import Path

from residual_ssl.engine import RunResult
from residual_ssl.engine.records.console import class_table, summary


def test_150_classes_fit_a_screen_and_each_stands_there_once_with_both_figures() -> None:
    last = {f"iou/class {i}": i / 2 for i in range(150)}
    best = {name: value + 0.25 for name, value in last.items()}
    lines = class_table(last, best, 120).splitlines()
    assert max(map(len, lines)) <= 120
    assert len(lines) < 50
    table = "\n".join(lines)
    for i in (0, 7, 77, 149):
        assert table.count(f"class {i} ") == 1
        assert f"class {i}{' ' * (3 - len(str(i)))} {i / 2:5.1f} {i / 2 + 0.25:5.1f}" in table
    # Read downwards: the second line of a column is the second class.
    assert lines[2].startswith("class 1 ")


def test_a_narrow_console_gets_one_column() -> None:
    lines = class_table({"iou/a long name of a class": 5.0, "iou/b": 6.0}, {}, 10).splitlines()
    assert [line.split()[-2:] for line in lines[1:]] == [["5.0", "-"], ["6.0", "-"]]


def test_figures_without_classes_make_no_table() -> None:
    assert class_table({"accuracy": 5.0}, {"accuracy": 5.0}, 80) == ""


def test_the_summary_names_steps_and_epochs_of_last_and_best() -> None:
    last, best = {"step": 600, "miou": 61.234, "iou/cat": 61.2}, {"step": 450, "miou": 62.0, "iou/cat": 62.0}
    shown = summary(RunResult(Path("runs/a"), last, best, {}, 12.3, None, epoch_steps=7.5))
    assert "last  step 600 (epoch 80.0)  miou 61.23" in shown
    assert "best  step 450 (epoch 60.0)  miou 62.00" in shown
    assert "cat  61.2  62.0" in shown
    assert "12 s, runs/a" in shown
    assert "epoch" not in summary(RunResult(Path("runs/a"), last, best, {}, 12.3, None))
