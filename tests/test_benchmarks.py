"""Benchmarks run from end to end, at a size that says nothing about speed or accuracy."""

import argparse
import contextlib
import importlib
import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from residual_ssl import ConvexSelector, FixedThreshold
from residual_ssl.commands.comparison import Predictions
from residual_ssl.commands.comparison.saved import SavedArray
from residual_ssl.selection import TrustAll

ROOT = Path(__file__).parents[1]


def run(script: str, *arguments: object) -> str:
    command = [sys.executable, str(ROOT / "benchmarks" / script), *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_convex_layer_writes_times_ratios_and_their_origin(tmp_path: Path) -> None:
    printed = run("speed/convex_layer.py", "--sides", 8, 16, "--batches", 1, "--rounds", 2, "--out", tmp_path)
    record = json.loads((tmp_path / "convex_layer.json").read_text())
    assert [cell["points"] for cell in record["cells"]] == [8, 16]
    assert record["versions"]["torch"]
    assert (tmp_path / "convex_layer.md").read_text().strip() in printed


@pytest.mark.parametrize(
    ("name", "data"),
    [("photographs", ["--pacs", "PACS", "--cifar10", "CIFAR10"]), ("dense_photographs", ["--camvid", "CAMVID"])],
)
def test_tables_of_photographs_are_those_of_the_rows_that_are_kept(name: str, data: list[str], tmp_path: Path) -> None:
    results = f"{name}_reduced"
    for ending in ("json", "md"):
        shutil.copy(ROOT / "benchmarks" / "results" / f"{results}.{ending}", tmp_path)
    nothing = ["--finished", "--seeds", 99, "--runs", tmp_path / "runs", "--out", tmp_path]
    printed = run(f"photographs/{name}.py", *data, "--weights", "LITE0", *nothing)
    assert (tmp_path / f"{results}.md").read_text().strip() == printed.strip()


def test_a_comparison_keeps_each_row_until_its_run_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "photographs"))
    comparison = importlib.import_module("comparison")
    options = argparse.Namespace(
        seeds=[0, 1], grounds=["g"], selectors=["a", "b"], out=tmp_path, runs=tmp_path, size="s", finished=False
    )

    def compared(score: int, cut_at: str | None = None) -> dict[tuple[str, int], int]:
        def run(ground: str, selector: str, seed: int, place: Path) -> dict[str, Any]:
            if selector == cut_at:
                raise KeyboardInterrupt
            return {"ground": ground, "selector": selector, "seed": seed, "score": score}

        with contextlib.suppress(KeyboardInterrupt):
            comparison.compare(options, "kept", run, lambda rows: "")
        rows = comparison.saved_rows(tmp_path / "kept.json")
        return {(row["selector"], row["seed"]): row["score"] for row in rows}

    before = compared(1)
    assert len(before) == 8
    options.selectors = ["b"]
    after = compared(2, cut_at="b")
    assert after == before | {(comparison.WARM_UP, 0): 2, (comparison.LABELS_ONLY, 0): 2}


class TestAllBenchmarksOfTime:
    """``python -m benchmarks``, with small sizes in place of its own."""

    @pytest.fixture
    def benchmarks(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.syspath_prepend(str(ROOT))
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        module = importlib.import_module("benchmarks.__main__")
        small = {
            "selection": ["--shapes", "2x3x64x64", "2x4x56x48"],
            "train_step": ["--model", "small_segmenter", "--crops", "32"],
            "upsampled_loss": ["--shapes", "1x3x16x16 64x60"],
            "scaling": ["--sizes", "2"],
            "startup": ["--first-step", "experiment=digits_classification", "dry_run=true"],
        }
        monkeypatch.setattr(module, "BENCHMARKS", {"cpu": small})
        return module

    def test_what_a_commit_has_measured_is_not_measured_again(
        self, benchmarks: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        arguments = ["--only", "selection", "scaling", "--rounds", "1", "--out", str(tmp_path)]
        assert benchmarks.main(arguments) == 0
        printed = capsys.readouterr().out
        assert "| selection | measured | ConvexSelector at 2×3×64×64 |" in printed
        record = json.loads((tmp_path / "selection_cpu.json").read_text())
        assert record["commit"]
        assert [cell["shape"] for cell in record["cells"]] == ["2x3x64x64", "2x4x56x48"]
        for cell in record["cells"]:
            assert cell["softmaxes"]["softmax"] == cell["published / ours"]["published formulation"] == 1
            assert {"FixedThreshold", "LearnedConvexSelector", "UCCWeight", "TrustedMask"} < set(cell["ms"])
        stamp = (tmp_path / "scaling_cpu.json").stat().st_mtime_ns
        assert benchmarks.main(arguments) == 0
        assert "| scaling | as before |" in capsys.readouterr().out
        assert stamp == (tmp_path / "scaling_cpu.json").stat().st_mtime_ns

    def test_nothing_begins_after_the_budget_and_what_runs_is_stopped(
        self, benchmarks: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert benchmarks.main(["--only", "selection", "scaling", "--budget", "0.2s", "--out", str(tmp_path)]) == 0
        printed = capsys.readouterr().out
        assert "| selection | out of time |" in printed
        assert "| scaling | not begun |" in printed

    @pytest.mark.slow
    def test_a_benchmark_that_fails_is_told(
        self, benchmarks: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        benchmarks.BENCHMARKS["cpu"]["selection"] = ["--shapes", "nonsense"]
        assert benchmarks.main(["--only", "selection", "--out", str(tmp_path)]) == 1
        assert "| selection | failed | said | ValueError: " in capsys.readouterr().out
        assert "Traceback" in (tmp_path / "selection_cpu.log").read_text()

    @pytest.mark.slow
    def test_training_steps_losses_and_first_steps_are_timed(self, benchmarks: Any, tmp_path: Path) -> None:
        assert (
            benchmarks.main(
                ["--only", "train_step", "upsampled_loss", "startup", "--rounds", "1", "--out", str(tmp_path)]
            )
            == 0
        )
        (cell,) = json.loads((tmp_path / "train_step_cpu.json").read_text())["cells"]
        assert set(cell["ms"]) == {"eager UniMatch", "unimatch, no", "csl, no"}
        (cell,) = json.loads((tmp_path / "upsampled_loss_cpu.json").read_text())["cells"]
        assert set(cell["ms"]) == set(cell["mib"]) == {"composition", "by blocks"}
        seconds = json.loads((tmp_path / "startup_cpu.json").read_text())["seconds"]
        assert seconds["python -c pass"] < seconds["import torch"] < seconds["first step"]

    def test_the_exponent_is_the_slope_of_the_logarithms(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "speed"))
        scaling = importlib.import_module("scaling")
        assert scaling.exponent([10, 100, 1000], [3 * 10**1.2, 3 * 100**1.2, 3 * 1000**1.2]) == pytest.approx(1.2)


def test_the_published_formulation_gives_the_selection_of_csl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "speed"))
    selection = importlib.import_module("selection")
    logits = selection.drawn(2, 5, 24, 24).double()
    chosen = ConvexSelector()(logits)
    for image, (weight, label) in enumerate(selection.published(logits)):
        assert torch.equal(label, chosen.label[image].flatten())
        torch.testing.assert_close(weight, chosen.weight[image].flatten(), rtol=0, atol=1e-6)


@pytest.mark.slow
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


@pytest.mark.slow
def test_regimes_give_the_gap_closed_and_read_finished_runs(tmp_path: Path) -> None:
    place = ["--runs", tmp_path / "runs", "--out", tmp_path, "--rules", "none", "oracle", "reliable regions"]
    data = ["dataset.source.labelled=2", "dataset.source.unlabelled=5", "dataset.source.validation=2"]
    settings = ["--set", "steps=1", "warmup_steps=0", "labelled_batch=2", "unlabelled_batch=2", *data]
    table = run("regimes.py", *place, "--regimes", "letters", "long tail", *settings)
    record = json.loads((tmp_path / "regimes_reduced.json").read_text())
    rules = [(row["regime"], row["rule"]) for row in record["rows"]]
    both = [(regime, rule) for regime in ("letters", "long tail") for rule in ("warm-up", "none", "oracle")]
    assert rules == [*both, ("letters", "reliable regions"), ("long tail", "reliable regions")]
    assert record["rows"][0]["commit"]
    none, oracle = (row["last"]["miou"] for row in record["rows"][1:3])
    letters = table.split("## ")[1].splitlines()
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in letters if line.startswith("| ")}
    assert rows["none"][3] == "0.0"
    assert float(rows["oracle"][3]) == pytest.approx(oracle - none, abs=0.06)
    assert rows["oracle"][4] == ("100.0" if oracle > none else "–")
    assert table.count("**reliable regions**") == 2
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("last.pt")}
    assert len(stamps) == 8
    run("regimes.py", *place, "--regimes", "letters", "long tail", *settings)
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("last.pt")}


@pytest.mark.slow
def test_classification_tells_how_pseudo_labels_change_and_reads_finished_runs(tmp_path: Path) -> None:
    place = ["--runs", tmp_path / "runs", "--out", tmp_path, "--methods", "supervised", "oracle"]
    settings = ["--set", "steps=2", "warmup_steps=0", "evaluate_every=2", "log_every=1"]
    table = run("classification.py", *place, *settings)
    rows = json.loads((tmp_path / "classification_reduced.json").read_text())["rows"]
    assert len(rows) == 3 * 3
    labels_only, oracle = (next(row for row in rows if row["method"] == name) for name in ("supervised", "oracle"))
    assert oracle["error"] == pytest.approx(100 - oracle["last"]["accuracy"])
    assert [len(row["purity"]) for row in (labels_only, oracle)] == [0, 2]
    assert oracle["purity"] == pytest.approx([100, 100])
    shown = next(line for line in table.splitlines() if line.startswith("| oracle |")).strip("| ").split(" | ")
    assert float(shown[3]) == pytest.approx(oracle["error"] - labels_only["error"], abs=0.06)
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("last.pt")}
    assert len(stamps) == 9
    run("classification.py", *place, *settings)
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("last.pt")}


def test_the_estimator_is_compared_with_the_labels_alone_and_with_the_truth(tmp_path: Path) -> None:
    table = run("estimator.py", "--data", "wine, 15 labels", "--seeds", 0, "--rounds", 2, "--out", tmp_path)
    record = json.loads((tmp_path / "estimator.json").read_text())
    accuracy = {row["rule"]: row["accuracy"] for row in record["rows"]}
    assert record["commit"]
    assert accuracy["oracle"] >= accuracy["none"] > 80
    cells = next(line for line in table.splitlines() if line.startswith("| CSL |")).split(" | ")
    assert float(cells[2]) == pytest.approx(accuracy["CSL"] - accuracy["labels only"], abs=0.06)


@pytest.mark.slow
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


@pytest.mark.slow
def test_selection_rules_are_judged_on_the_predictions_of_models_trained_here(
    tmp_path: Path, shared_data: Path
) -> None:
    place = ["--runs", tmp_path / "runs", "--predictions", tmp_path / "saved", "--out", tmp_path, "--settle", 2]
    small = ["--set", "steps=1", "evaluate_every=1", "dataset.weak.size=32", "dataset.weak.padding=0"]
    table = run("selector_comparison.py", "pacs", "--root", shared_data / "pacs", *place, *small)
    rows = {row["rule"]: row for row in json.loads((tmp_path / "selectors_pacs.json").read_text())["rows"]}
    assert rows["none"]["coverage"] == 100
    assert rows["oracle"]["purity"] == pytest.approx(100)
    assert rows["oracle"]["aurc"] < rows["confidence"]["aurc"] == pytest.approx(rows["fixed_threshold"]["aurc"])
    assert rows["none"]["gap"] == pytest.approx(0, abs=1e-6)
    assert "| csl |" in table


class TestRuleFigures:
    """The ranking by weight and then confidence, against its definition on points held in memory."""

    @pytest.fixture
    def judged(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
        return importlib.import_module("selector_metrics")

    def test_classes_at_a_coverage_are_those_taught_rightly_by_the_highest_ranked_points(self, judged: Any) -> None:
        logits = torch.tensor([[5.0, 0, 0], [4.0, 0, 0], [0, 3.0, 0], [0, 2.0, 0], [0, 0, 1.0], [0, 0, 0.5]])
        truth = torch.tensor([0, 0, 1, 2, 2, 0])
        figures = judged.RuleFigures(3, ignore_index=255)
        figures.update(TrustAll()(logits), truth)
        # In order of confidence: 0 right, 0 right, 1 right, 1 wrong, 2 right, 2 wrong.
        expected = {1 / 6: 1, 2 / 6: 1, 3 / 6: 2, 4 / 6: 2, 5 / 6: 3, 1: 3}
        assert {coverage: round(3 * figures.classes_at(coverage)) for coverage in expected} == expected

    def test_the_groups_of_the_second_area_are_the_images(self, judged: Any) -> None:
        logits = 2 * torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(0))
        truth = torch.randint(4, (3, 5, 6), generator=torch.Generator().manual_seed(1))
        figures = judged.RuleFigures(4, ignore_index=255)
        rule = FixedThreshold(0.7)
        figures.update(rule(logits), truth)
        probability, label = logits.softmax(1).max(1)
        by_definition = []
        for image in range(3):
            order = probability[image].flatten().argsort(descending=True)
            wrong = (label != truth)[image].flatten()[order].double()
            by_definition.append((wrong.cumsum(0) / torch.arange(1, 31)).mean().item())
        assert figures.group_aurc == pytest.approx(by_definition, abs=1e-6)

    def test_memory_settles_with_the_pool_and_the_labels_and_stands_still_afterwards(self, judged: Any) -> None:
        logits = 2 * torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
        labels = torch.arange(64) % 4
        kept = Predictions(
            SavedArray(logits, "logits"), SavedArray(labels, "labels"), None, SavedArray(logits, "second")
        )
        rules = judged.rules(4, images=False)
        judged.prepare(rules, kept, kept, kept, batch=16, steps=3, thinning=1, seed=0)
        states = {
            name: {key: value.clone() for key, value in rule.state_dict().items()} for name, rule in rules.items()
        }
        assert all(not rule.training for rule in rules.values())
        assert states["freematch"]["mean"] != 0.25
        rows = {row["rule"]: row for row in judged.judge(rules, kept, batch=16)}
        for name, rule in rules.items():
            assert all(torch.equal(value, states[name][key]) for key, value in rule.state_dict().items()), name
        assert rows["oracle"]["purity"] == 100
        assert rows["none"]["gap"] == 0
        assert min(rows, key=lambda name: rows[name]["aurc"]) == "oracle"


def test_what_rows_tell_of_their_origin_is_stored_once_and_read_back(tmp_path: Path) -> None:
    recorded = runpy.run_path(str(ROOT / "benchmarks" / "recorded.py"))
    origin = {"command": "a.py", "versions": {"torch": "2"}, "commit": "1"}
    rows = [{"seed": 0, **origin}, {"seed": 1, **origin}, {"seed": 2, **origin, "commit": "2"}, {"seed": 3}]
    recorded["save"](tmp_path, "a", {"size": "reduced", "rows": rows}, "text")
    stored = json.loads((tmp_path / "a.json").read_text())
    assert stored["origins"] == [origin, {**origin, "commit": "2"}]
    assert stored["rows"][1] == {"seed": 1, "origin": 0}
    assert recorded["saved_rows"](tmp_path / "a.json") == rows
    assert recorded["saved_rows"](tmp_path / "none.json") == []


def test_pools_tell_memory_and_speed_by_size_and_number_of_processes(tmp_path: Path) -> None:
    printed = run("pools.py", "--rows", 40, "--processes", 1, "--work", tmp_path / "work", "--out", tmp_path)
    record = json.loads((tmp_path / "pools.json").read_text())
    (row,) = record["rows"]
    assert (row["images"], row["shards"], record["versions"]["torch"] != "") == (40, 1, True)
    assert row["peak_rss_mib"][0] > 50
    assert row["reading"]["sample_ms"] > 0
    assert (tmp_path / "pools.md").read_text().strip() in printed
    assert not list((tmp_path / "work").glob("labels-*"))
