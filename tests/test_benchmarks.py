"""Benchmarks run from end to end, at a size that says nothing about speed or accuracy."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(script: str, *arguments: object) -> str:
    command = [sys.executable, str(ROOT / "benchmarks" / script), *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_convex_layer_writes_times_ratios_and_their_origin(tmp_path: Path) -> None:
    printed = run("convex_layer.py", "--sides", 8, 16, "--batches", 1, "--rounds", 2, "--out", tmp_path)
    record = json.loads((tmp_path / "convex_layer.json").read_text())
    assert [cell["points"] for cell in record["cells"]] == [8, 16]
    assert record["versions"]["torch"]
    assert (tmp_path / "convex_layer.md").read_text().strip() in printed


def test_camvid_runs_every_method_from_one_warm_up_and_reads_finished_runs(tmp_path: Path, shared_data: Path) -> None:
    place = ["--root", shared_data / "camvid", "--weights", "null", "--runs", tmp_path / "runs", "--out", tmp_path]
    small = ["dataset.geometry.crop=[48,64]", "dataset.inference.scales=[0.1]"]
    settings = ["--set", "steps=1", "warmup_steps=0", "labelled_batch=2", "unlabelled_batch=2", *small]
    table = run("segmentation_camvid.py", *place, "--methods", "supervised", "csl", *settings)
    record = json.loads((tmp_path / "segmentation_camvid_reduced.json").read_text())
    assert [row["method"] for row in record["rows"]] == ["warm-up", "supervised", "csl"]
    assert all(row["last"]["miou"] > 0 for row in record["rows"])
    assert "| 30 | csl | 1 |" in table
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("last.pt")}
    run("segmentation_camvid.py", *place, "--methods", "supervised", "csl", *settings)
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("last.pt")}


def test_contaminated_pools_give_the_gap_closed_and_read_finished_runs(tmp_path: Path) -> None:
    place = ["--runs", tmp_path / "runs", "--out", tmp_path, "--rules", "none", "oracle", "reliable images"]
    data = ["dataset.source.labelled=2", "dataset.source.unlabelled=5", "dataset.source.validation=2"]
    settings = ["--set", "steps=1", "warmup_steps=0", "labelled_batch=2", "unlabelled_batch=2", *data]
    table = run("contaminated_pools.py", *place, *settings)
    record = json.loads((tmp_path / "contaminated_pools_reduced.json").read_text())
    assert [row["rule"] for row in record["rows"]] == ["warm-up", "none", "oracle", "reliable images"]
    assert record["rows"][0]["commit"]
    none, oracle = (row["last"]["miou"] for row in record["rows"][1:3])
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in table.splitlines() if line.startswith("| ")}
    assert rows["none"][3] == "0.0"
    assert float(rows["oracle"][3]) == pytest.approx(oracle - none, abs=0.06)
    assert oracle == none or rows["oracle"][4] == "100.0"
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("last.pt")}
    assert len(stamps) == 4
    run("contaminated_pools.py", *place, *settings)
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("last.pt")}


def test_the_estimator_is_compared_with_the_labels_alone_and_with_the_truth(tmp_path: Path) -> None:
    table = run("estimator.py", "--data", "wine, 15 labels", "--seeds", 0, "--rounds", 2, "--out", tmp_path)
    record = json.loads((tmp_path / "estimator.json").read_text())
    accuracy = {row["rule"]: row["accuracy"] for row in record["rows"]}
    assert record["commit"]
    assert accuracy["oracle"] >= accuracy["none"] > 80
    cells = next(line for line in table.splitlines() if line.startswith("| CSL |")).split(" | ")
    assert float(cells[2]) == pytest.approx(accuracy["CSL"] - accuracy["labels only"], abs=0.06)


def test_adaptation_compares_with_source_only_and_reads_finished_runs(tmp_path: Path) -> None:
    place = ["--pairs", "digit-scenes", "--runs", tmp_path / "runs", "--out", tmp_path]
    methods = ["--methods", "source only", "DANN", "MCC", "CSL + TrustedMask"]
    data = ["dataset.pair.source.labelled=2", "dataset.pair.target.unlabelled=5"]
    settings = ["--set", "steps=1", "warmup_steps=0", "labelled_batch=2", "unlabelled_batch=2", *data]
    settings.append("dataset.pair.target.validation=2")
    table = run("adaptation.py", *place, *methods, *settings)
    record = json.loads((tmp_path / "adaptation_reduced.json").read_text())
    # A discriminator of whole samples has no part in segmentation.
    assert [row["method"] for row in record["rows"]] == ["warm-up", "source only", "MCC", "CSL + TrustedMask"]
    assert {row["chosen_by"] for row in record["rows"]} == {"unsupervised_infomax"}
    source_only, masked = (record["rows"][place]["last"]["miou"] for place in (1, 3))
    rows = {cells[1]: cells for line in table.splitlines() if len(cells := line.strip("| ").split(" | ")) > 5}
    assert float(rows["CSL + TrustedMask"][4]) == pytest.approx(masked - source_only, abs=0.06)
    assert float(rows["CSL + TrustedMask"][10]) >= 0  # purity
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("last.pt")}
    assert len(stamps) == 4
    run("adaptation.py", *place, *methods, *settings)
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("last.pt")}
