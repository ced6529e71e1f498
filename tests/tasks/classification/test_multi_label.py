"""Labels that do not exclude each other, from data to predictions."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import average_precision_score, f1_score

from residual_ssl import compose, load, predict, train
from residual_ssl.config.components import build
from residual_ssl.data import LabelTable, MultiLabelSplit
from residual_ssl.errors import ConfigError, DataError, MissingDataError
from residual_ssl.selection import FixedThreshold
from residual_ssl.task import Task
from residual_ssl.testing import TaskContract

SIZES = [f"dataset.source.source.{name}={size}" for name, size in
         (("labelled", 8), ("unlabelled", 8), ("validation", 6), ("size", 32))]  # fmt: skip
SHORT = ["device=cpu", "steps=2", "warmup_steps=0", "labelled_batch=4", "unlabelled_batch=4", "evaluate_every=2"]


def tiny(run_dir: Path, *overrides: str) -> dict[str, Any]:
    fixed = ["experiment=digits_multi_label", f"run_dir={run_dir}", "dataset.weak.size=32", "model.widths=[8,8]"]
    return compose([*fixed, *SIZES, *SHORT, *overrides])


class TestMultiLabel(TaskContract):
    @pytest.fixture
    def task(self, tmp_path: Path) -> Task:
        made: Task = build(tiny(tmp_path)["task"], "task")
        return made


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Twelve images: label "bright" and label "red", of which some are unknown."""
    rows = [["file", "note", "red", "bright"]]
    for i in range(12):
        red, bright = i % 2, int(i % 3 == 0)
        pixels = np.full((32, 32, 3), 200 if bright else 40, np.uint8)
        pixels[:16, :16] = (255, 0, 0) if red else (0, 0, 255)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        rows.append([f"{i}.png", "x", "" if i == 11 else str(red), str(bright)])
    with (tmp_path / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return tmp_path / "table.csv"


@pytest.mark.parametrize(
    "choice",
    [
        "algorithm=csl",
        "algorithm=fixmatch selector.threshold=[0.9,0.6]",
        "algorithm=unimatch_v2 selector=freematch mix={_target_: residual_ssl.perturbations.CutMix}",
        "algorithm=mean_teacher",
        "algorithm=fixmatch selector=per_label selector.labels=10",
    ],
)
def test_it_trains_with_any_algorithm_and_selector(choice: str, tmp_path: Path) -> None:
    overrides = choice.split(" ", 2) if "mix=" in choice else choice.split()
    result = train(tiny(tmp_path / "run", *overrides))
    assert 0 < result.last["map"] < 100


def test_metrics_are_those_of_scikit_learn(tmp_path: Path) -> None:
    task = build(tiny(tmp_path)["task"], "task")
    generator = torch.Generator().manual_seed(0)
    z, target = torch.randn(60, 10, generator=generator), torch.randint(0, 2, (60, 10), generator=generator)
    target[:, 9] = 0  # never occurs
    metric = task.metric()
    metric.update(torch.stack([torch.zeros_like(z), z], 1), target)
    found = task.summary(metric.compute())
    shown, known = z.sigmoid().numpy()[:, :9], target.numpy()[:, :9]
    assert found["map"] == pytest.approx(100 * average_precision_score(known, shown, average="macro"))
    assert found["f1"] == pytest.approx(100 * f1_score(known, shown > 0.5, average="macro"))
    micro = f1_score(target.numpy(), z.sigmoid().numpy() > 0.5, average="micro")
    assert found["micro_f1"] == pytest.approx(100 * micro)
    assert "ap/nine" not in found


def test_labels_are_the_classes_of_the_masks(tmp_path: Path) -> None:
    source = build(tiny(tmp_path)["task"], "task").source
    scenes = tiny(tmp_path)["task"]["source"]["source"]
    masks = [sample.mask for sample in build(scenes, "source")().labelled]
    for mask, label in zip(masks, source.labelled.labels, strict=True):
        assert {i + 1 for i, present in enumerate(label) if present} == set(mask.unique().tolist()) - {0}


def test_a_sample_is_hidden_where_all_its_labels_are_trusted(tmp_path: Path) -> None:
    task = build(tiny(tmp_path)["task"], "task")
    z = torch.full((2, 10), 9.0)
    z[1, 3] = 0.1
    trusted = FixedThreshold()(torch.stack([torch.zeros_like(z), z], 1)).trusted
    assert task.trusted_places(trusted).tolist() == [True, False]


def test_a_table_of_images_trains_and_predicts(table: Path, tmp_path: Path) -> None:
    data = ["dataset=label_table", "model=small_classifier", "model.widths=[8,8]", "dataset.classes=[red,bright]"]
    files = [f"dataset.train={table}", f"dataset.validation={tmp_path / 'val.csv'}", "dataset.labelled=6"]
    # The image whose label is not known is none of the labelled ones, and is evaluated by its other label.
    (tmp_path / "val.csv").write_text("file,red,bright\n0.png,0,1\n11.png,,0\n3.png,1,1\n")
    config = compose([*data, *files, *SHORT, "dataset.weak.size=16", "dataset.weak.padding=2", "algorithm=fixmatch",
                      f"run_dir={tmp_path / 'run'}"])  # fmt: skip
    result = train(config)
    assert {"ap/red", "ap/bright"} <= set(result.last)
    written = predict(tmp_path / "run", [tmp_path / "0.png", tmp_path / "1.png"], tmp_path / "out")
    rows = list(csv.DictReader(written[0].open()))
    assert list(rows[0]) == ["file", "label", "confidence", "trust", "p(red)", "p(bright)"]
    for row in rows:
        shown = {name for name in ("red", "bright") if float(row[f"p({name})"]) > 0.5}
        assert set(filter(None, row["label"].split("; "))) == shown
    found = load(tmp_path / "run").predict(tmp_path / "0.png")
    assert found.label.shape == (2,)
    (path,) = found.save(tmp_path / "saved")
    assert json.loads(path.read_text())["p(red)"] == pytest.approx(float(rows[0]["p(red)"]), abs=1e-4)
    assert found._repr_html_().startswith("<p>")
    assert found.plot() is not None


def test_faults_of_tables_are_named(table: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no column green; its columns are file, note, red, bright"):
        LabelTable(table, ["green"])
    with pytest.raises(MissingDataError, match=r"table: .*none\.csv is not a file"):
        LabelTable(tmp_path / "none.csv", ["red"])
    (tmp_path / "bad.csv").write_text("file,red\na.png,yes\n")
    with pytest.raises(DataError, match=r"bad.csv, line 2, red: got 'yes', expected 1 \(present\), 0"):
        LabelTable(tmp_path / "bad.csv", ["red"])
    (tmp_path / "bad.csv").write_text("file,red\na.png,1\na.png,0\n")
    with pytest.raises(DataError, match=r"names a\.png more than once"):
        LabelTable(tmp_path / "bad.csv", ["red"])

    def read() -> LabelTable:
        return LabelTable(table, ["red", "bright"])

    with pytest.raises(ConfigError, match=r"labelled: got 12, expected a number in 1 … 11"):
        MultiLabelSplit(["red", "bright"], read, read, 12)
