"""Every algorithm and selector runs on the embedded digits as it stands: train, continue, evaluate, predict, report."""

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.tiny_runs import tiny_digits
from PIL import Image

from residual_ssl import FixedThreshold, TrustedMask, compose, evaluate, predict, train
from residual_ssl.algorithms import ConsistencyAlgorithm, InputBranch
from residual_ssl.commands.api import export, split
from residual_ssl.commands.report import write_report
from residual_ssl.config.components import build
from residual_ssl.engine import training
from residual_ssl.engine.records.run_log import read_log
from residual_ssl.engine.records.trained import load_run
from residual_ssl.errors import ConfigError, ResidualSSLError
from residual_ssl.task import Task
from residual_ssl.testing import TaskContract

CONFIGS = Path(__file__).parents[3] / "configs"
# Classes are cut out of images, or images drawn by their pixels: of masks alone.
OF_MASKS = ("bcp", "dacs", "daformer", "mic")
ALGORITHMS = sorted(path.stem for path in (CONFIGS / "algorithm").glob("*.yaml") if path.stem not in OF_MASKS)
# Their evidence is not FixMatch's: another network, an earlier state, a teacher beside the student.
# And the points of one are labels that do not exclude each other.
ELSEWHERE = {"agreement", "dmt", "per_label", "prevmatch", "ucc"}
SELECTORS = sorted(path.stem for path in (CONFIGS / "selector").glob("*.yaml") if path.stem not in ELSEWHERE)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits") / "run"
    train(tiny_digits(folder, "algorithm=csl", "steps=60", "model.widths=[16,32]", "optimizer.lr=0.005"))
    return folder


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    source = build(tiny_digits(tmp_path)["task"]["source"])()
    for i in range(12):
        Image.fromarray(source.validation[i].image.permute(1, 2, 0).numpy()).save(folder / f"{i:02d}.png")
    return folder


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_trains_and_its_run_is_evaluated(tmp_path: Path, algorithm: str) -> None:
    # As many steps as the snapshots that one of them keeps.
    result = train(tiny_digits(tmp_path / "run", f"algorithm={algorithm}", "steps=3"))
    assert 0 <= result.last["accuracy"] <= 100
    assert result.last["error"] == pytest.approx(100 - result.last["accuracy"])
    rows = [row for row in read_log(tmp_path / "run") if "train/loss" in row]
    assert all(math.isfinite(row["train/loss"]) for row in rows)
    again = evaluate(tmp_path / "run", checkpoint_name="last.pt", device="cpu")
    assert again["accuracy"] == pytest.approx(result.last["accuracy"])


@pytest.mark.parametrize(
    ("algorithm", "message"),
    [
        *(("bcp", "BidirectionalPaste cuts boxes out of samples"), ("dacs", "ClassMix cuts classes out of samples")),
        *(("daformer", "task.sampling"), ("mic", "task.sampling")),
    ],
)
def test_what_needs_masks_says_so(tmp_path: Path, algorithm: str, message: str) -> None:
    with pytest.raises(ResidualSSLError, match=message):
        train(tiny_digits(tmp_path / "run", f"algorithm={algorithm}", "steps=1"))


@pytest.mark.parametrize("selector", SELECTORS)
def test_every_selector_judges_whole_samples(tmp_path: Path, selector: str) -> None:
    if selector in ("category_discovery", "label_propagation", "pooled_propagation", "prototype_cleaner", "wad"):
        pytest.skip("judges by features, which images of a network in training do not have")
    if selector == "regions":
        pytest.skip("judges by regions, which whole samples do not have")
    if selector == "stored":
        pytest.skip("teaches labels of a labelled pool, which tests/pools has")
    train(tiny_digits(tmp_path / "run", "algorithm=fixmatch", f"selector={selector}"))
    rows = [row for row in read_log(tmp_path / "run") if "train/coverage" in row]
    assert len(rows) == 2
    assert all(0 <= row["train/coverage"] <= 1 and math.isfinite(row["train/loss"]) for row in rows)


@pytest.mark.parametrize("selector", ["csl", "fixed_threshold", "flexmatch", "softmatch"])
@pytest.mark.parametrize("prior", ["labelled", "uniform"])
def test_alignment_composes_with_any_selector(tmp_path: Path, selector: str, prior: str) -> None:
    config = tiny_digits(tmp_path / "run", "algorithm=fixmatch", f"selector={selector}")
    rule = config["algorithm"]["selector"]
    target = "residual_ssl.selection.DistributionAlignment"
    config["algorithm"]["selector"] = {"_target_": target, "prior": prior, "rule": rule}
    train(config)
    state = torch.load(tmp_path / "run" / "last.pt", weights_only=True)["selector"]
    assert state["predicted"].shape == (10,)
    assert state["predicted"].sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("algorithm", ["fixmatch", "unimatch", "csl", "unimatch_v2", "u2pl"])
def test_mixing_is_off_by_the_task_and_one_override_turns_it_on(tmp_path: Path, algorithm: str) -> None:
    def mixes(*overrides: str) -> set[Any]:
        branches = tiny_digits(tmp_path / "run", f"algorithm={algorithm}", *overrides)["algorithm"]["branches"]
        return {str(branch["mix"]) for branch in branches.values() if "mix" in branch}

    assert mixes() == {"None"}
    on = "mix={_target_: residual_ssl.perturbations.CutMix}"
    assert mixes(on) == {"{'_target_': 'residual_ssl.perturbations.CutMix'}"}
    result = train(tiny_digits(tmp_path / "run", f"algorithm={algorithm}", on))
    assert math.isfinite(result.training["loss"])


def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = ("algorithm=csl", "selector=softmatch", "steps=4", "evaluate_every=2")
    whole = train(tiny_digits(tmp_path / "whole", *overrides))
    evaluated = training.Run._evaluate

    def cut(self: Any, log: Any) -> None:
        evaluated(self, log)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training.Run, "_evaluate", cut)
        with pytest.raises(KeyboardInterrupt):
            train(tiny_digits(tmp_path / "cut", *overrides))
    continued = train(tiny_digits(tmp_path / "cut", *overrides))
    assert continued.last == whole.last
    first, second = (torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("whole", "cut"))
    assert all(torch.equal(first["model"][name], second["model"][name]) for name in first["model"])


def test_prediction_writes_a_row_for_each_file_judged_together(run: Path, digits: Path, tmp_path: Path) -> None:
    (written,) = predict(run, digits, tmp_path / "out", device="cpu")
    assert written == tmp_path / "out" / "predictions.csv"
    with written.open(newline="") as file:
        rows = list(csv.DictReader(file))
    files = sorted(digits.iterdir())
    assert [row["file"] for row in rows] == [str(file) for file in files]
    trained = load_run(run, device="cpu")
    images = torch.stack([trained.task.read(file) for file in files])
    logits = trained.task.predict(trained.model, images)
    chosen = trained.algorithm.selector(logits)  # type: ignore[operator]
    assert [row["label"] for row in rows] == [trained.task.class_names[k] for k in logits.argmax(1)]
    assert [float(row["confidence"]) for row in rows] == pytest.approx(chosen.confidence.tolist(), abs=1e-4)
    assert [float(row["trust"]) for row in rows] == pytest.approx(chosen.weight.tolist(), abs=1e-4)
    assert len({row["trust"] for row in rows}) > 1


def test_a_file_of_another_size_is_predicted_too(run: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (30, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    assert predict(run, tmp_path / "wide.png", tmp_path / "out", device="cpu")


def test_the_report_shows_a_sheet_of_samples(run: Path, tmp_path: Path) -> None:
    table = write_report([run], tmp_path / "page.html")
    assert "accuracy last" in table.splitlines()[0]
    page = (tmp_path / "page.html").read_text()
    assert page.count("<figure style=") == 48  # curves have none
    assert "draws no pictures" not in page
    assert "judged 256 samples together" in page


def test_the_network_is_exported(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    exported = export(run, tmp_path / "model.onnx")
    assert exported.shape == ("batch", 3, "height", "width")


def test_lists_are_drawn_by_class_and_train_a_run(tmp_path: Path) -> None:
    report = split(["dataset=handwritten_digits", "seed=3"], 30, tmp_path / "lists")
    assert report.drawn == (3,) * 10
    assert (report.labelled, report.unlabelled) == (30, 1370)
    listed = tmp_path / "lists" / "labeled.txt"
    config = tiny_digits(tmp_path / "run", "algorithm=fixmatch", f"dataset.labelled={listed}")
    source = build(config["task"]["source"])()
    names = {source.labelled[i].name for i in range(len(source.labelled))}
    assert names == set(listed.read_text().split())
    assert len(source.unlabelled) == 1370


def test_the_average_is_evaluated_and_does_not_teach(tmp_path: Path) -> None:
    task: Task = build(tiny_digits(tmp_path)["task"], "task")
    model = task.build_model()
    branches = {"strong": InputBranch(1.0)}
    algorithm = ConsistencyAlgorithm(FixedThreshold(0.0), branches, ema_decay=0.9, ema_teaches=False)
    algorithm.attach(model)
    assert algorithm.teacher is not None
    with torch.no_grad():
        algorithm.teacher.model.head.bias[7] = 50  # type: ignore[index,union-attr]
    output = algorithm.step(model, task, TaskContract.batch(task, "labelled"), TaskContract.batch(task, "unlabelled"))
    assert output.selection is not None
    assert not (output.selection.label == 7).all()
    assert algorithm.evaluated(model) is algorithm.teacher.model


def test_trusted_samples_lose_blocks_in_the_masked_view(tmp_path: Path) -> None:
    task: Task = build(tiny_digits(tmp_path)["task"], "task")
    inputs = TaskContract.batch(task, "unlabelled", 6)["input"]
    logits = torch.zeros(6, 10)
    logits[::2, 1] = 9
    selection = FixedThreshold(0.9)(logits)
    torch.manual_seed(0)
    branch = InputBranch(1.0, view="plain", masked_view="plain", mask=TrustedMask(1.0, block=2, probability=1.0))
    x, _ = branch.shown(task, inputs, selection)
    assert not x[::2].any()
    torch.testing.assert_close(x[1::2], task.view(inputs, "plain")[1::2])


def test_the_oracle_asks_for_the_truth_where_it_is_hidden(tmp_path: Path) -> None:
    hidden = tiny_digits(tmp_path / "a", "algorithm=fixmatch", "selector=oracle", "dataset.unlabelled_truth=false")
    with pytest.raises(ConfigError, match=r"OracleSelector judges by the true labels"):
        train(hidden)


@pytest.mark.slow
def test_unlabelled_digits_help(tmp_path: Path) -> None:
    accuracy = {}
    for algorithm in ("supervised", "fixmatch", "csl"):
        overrides = ["experiment=digits_classification", f"algorithm={algorithm}", f"run_dir={tmp_path / algorithm}"]
        accuracy[algorithm] = train(compose([*overrides, "device=cpu"])).last["accuracy"]
    assert accuracy["fixmatch"] > accuracy["supervised"]
    assert accuracy["csl"] > accuracy["supervised"]
