"""The command that compares rules on saved predictions, from files to table, JSON and plot."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from residual_ssl import compare_selectors
from residual_ssl.cli import main
from residual_ssl.commands.api import select
from residual_ssl.commands.comparison import Comparison
from residual_ssl.errors import ConfigError

Array = np.ndarray[Any, Any]


def arrays() -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    logits = 2 * rng.standard_normal((12, 5, 8, 8)).astype(np.float32)
    noise = rng.integers(0, 5, (12, 8, 8))
    labels = np.where(rng.random((12, 8, 8)) < 0.6, logits.argmax(1), noise).astype(np.uint8)
    labels[0] = 255
    return logits, labels


def save(folder: Path, suffix: str) -> list[str]:
    logits, labels = arrays()
    files = [folder / f"logits{suffix}", folder / f"labels{suffix}"]
    for file, array in zip(files, (logits, labels), strict=True):
        if suffix == ".npy":
            np.save(file, array)
        elif suffix == ".npz":
            np.savez(file, array)
        elif suffix == ".pt":
            torch.save(torch.from_numpy(array), file)
        else:
            save_file({file.stem: torch.from_numpy(array)}, file)
    return ["--logits", str(files[0]), "--labels", str(files[1]), "--device", "cpu"]


def cells(table: str) -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"]
    return {row[0]: row[1:] for row in rows}


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pt", ".safetensors"])
def test_the_table_holds_what_the_definitions_give(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    rules = "csl,fixed_threshold:threshold=0.8"
    assert main(["select", *save(tmp_path, suffix), "--selectors", rules, "--out", str(out), "--batch", "5"]) == 0
    printed = capsys.readouterr().out
    table = cells((out / "comparison.md").read_text())
    assert list(table)[2:] == ["none", "confidence", "csl", "fixed_threshold:threshold=0.8", "oracle"]
    for name, row in table.items():
        if name not in ("---",):
            assert name in printed
            assert all(cell in printed for cell in row)

    logits, labels = arrays()
    known = labels != 255
    p = np.exp(logits.astype(np.float64))
    p /= p.sum(1, keepdims=True)
    confidence, right = p.max(1)[known], (p.argmax(1) == labels)[known]
    order = right[np.argsort(-confidence)]
    risk = 1 - order.cumsum() / np.arange(1, len(right) + 1)
    chosen = confidence >= 0.8
    header = table["selector"]
    row = dict(zip(header, table["fixed_threshold:threshold=0.8"], strict=True))
    assert float(row["coverage"]) == pytest.approx(100 * chosen.mean(), abs=0.006)
    assert float(row["purity"]) == pytest.approx(100 * right[chosen].mean(), abs=0.006)
    plain = dict(zip(header, table["confidence"], strict=True))
    assert plain["coverage"] == "–"
    for found in (row["AURC+c"], plain["AURC"], plain["AURC+c"]):
        assert float(found) == pytest.approx(100 * risk.mean(), abs=0.05)
    for coverage in (30, 50, 70, 90):
        expected = 100 * (1 - risk[round(coverage / 100 * len(right)) - 1])
        assert float(row[f"@{coverage}"]) == pytest.approx(expected, abs=0.5)
    none = dict(zip(header, table["none"], strict=True))
    assert (none["coverage"], none["gap"], none["classes"]) == ("100.00", "0.00", "100")
    assert float(none["AURC"]) == pytest.approx(100 * (1 - right.mean()), abs=0.006)
    assert dict(zip(header, table["oracle"], strict=True))["purity"] == "100.00"


def test_json_and_plot_are_written_beside_the_table(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    arguments = [*save(tmp_path, ".npy"), "--selectors", "csl,fixed_threshold:threshold=1", "--out", str(out)]
    assert main(["select", *arguments]) == 0
    record = json.loads((out / "comparison.json").read_text(), parse_constant=pytest.fail)
    assert record["points"] == 11 * 64
    assert list(record["rules"]) == ["none", "csl", "fixed_threshold:threshold=1", "oracle"]
    nothing = record["rules"]["fixed_threshold:threshold=1"]
    assert (nothing["coverage"], nothing["purity"], nothing["gap"]) == (0, None, None)
    assert len(record["rules"]["csl"]["class_purity"]) == 5
    assert 0 < record["calibration_error"] < 1
    assert "versions" in record
    with Image.open(out / "risk_coverage.png") as picture:
        assert picture.size[0] > 1000


def test_arrays_in_memory_give_what_files_give(tmp_path: Path) -> None:
    logits, labels = arrays()
    save(tmp_path, ".npy")
    from_files = select(tmp_path / "logits.npy", tmp_path / "labels.npy", ["csl"], device="cpu")
    from_memory = select(torch.from_numpy(logits), labels, ["csl"], device="cpu")
    assert from_files.row("csl").gap == from_memory.row("csl").gap
    assert [path.suffix for path in tmp_path.iterdir()] == [".npy", ".npy"]


def test_labelled_logits_need_their_labels() -> None:
    logits, labels = arrays()
    with pytest.raises(ConfigError, match="labelled_logits, labelled_labels: got one of the two"):
        select(logits, labels, ["csl"], labelled_logits=logits)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--selectors", "cls"], "residual-ssl: selector: got 'cls', expected one of"),
        (["--selectors", "csl", "--labels", "nothing.npy"], "residual-ssl: labels: got nothing.npy, no such file"),
        (["--selectors", "csl", "--ignore-index", "77"], "labels: got class id 255 in sample 0 in "),
        (["--selectors", "csl", "--batch", "0"], "batch: got 0, expected samples ≥ 1"),
    ],
)
def test_a_fault_gives_one_line_and_status_two(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["select", *save(tmp_path, ".npy"), "--out", str(tmp_path / "out"), *arguments]) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 1
    assert message in errors[0]
    assert not (tmp_path / "out").exists()


def test_from_python_a_comparison_prints_plots_and_shows_itself_in_a_notebook() -> None:
    logits, labels = arrays()
    comparison = compare_selectors(logits, labels)
    names = ["none", "csl", "fixed_threshold", "freematch", "softmatch", "oracle"]
    assert [row.name for row in comparison.rows] == names
    known = labels != 255
    right = float((logits.argmax(1) == labels)[known].mean())
    assert float(comparison.row("none").metrics.purity) == pytest.approx(right)
    lines = str(comparison).splitlines()
    assert [line.split()[0] for line in lines[1:8]] == ["none", "confidence", *names[1:]]
    page = comparison._repr_html_()
    assert page.count("<tr>") == 8
    assert f"<td>{100 * right:.2f}</td>" in page
    figure = comparison.plot()
    assert len(figure.axes) == 2
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_names_of_selectors_stay_text_in_a_notebook() -> None:
    logits, labels = arrays()
    row = compare_selectors(logits, labels, ["csl"]).rows[1]
    hostile = Comparison((replace(row, name="<script>"),), row.metrics.by_weight_and_confidence, 0)
    assert "<script>" not in hostile._repr_html_()
