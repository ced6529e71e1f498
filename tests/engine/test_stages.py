"""Training in stages: what each stage gets from the one before, and what is left of the whole."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_runs import tiny_config

from residual_ssl import evaluate, train
from residual_ssl.engine import stages_of
from residual_ssl.engine.records.run_log import read_log
from residual_ssl.errors import ConfigError


def weights(path: Path, entry: str = "model") -> dict[str, Any]:
    stored: dict[str, Any] = torch.load(path, weights_only=True)[entry]
    return stored


def test_each_round_is_taught_by_the_network_of_the_round_before(tmp_path: Path) -> None:
    result = train(tiny_config(tmp_path, "algorithm=self_training", "steps=2", "evaluate_every=2"))
    folders = [tmp_path / name for name in ("1-labels", "2-round_1", "3-round_2")]
    for before, after in pairwise(folders):
        taught = weights(after / "last.pt", "algorithm")
        for name, value in weights(before / "last.pt").items():
            assert torch.equal(taught[f"teacher.networks.0.{name}"], value)
    first = [read_log(folder)[0] for folder in folders]
    assert "train/coverage" not in first[0]
    assert first[1]["train/coverage"] == 1
    # The whole is used as any run is.
    assert result.run_dir == tmp_path
    assert result.last == json.loads((folders[-1] / "result.json").read_text())["last"]
    assert evaluate(tmp_path, device="cpu")["miou"] == pytest.approx(result.best["miou"])


def test_rounds_start_from_scratch_and_a_finished_training_is_only_reported(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, "algorithm=self_training", "steps=1", "evaluate_every=1", "optimizer.lr=1e-9")
    train(config)
    start, last = (weights(tmp_path / name / "last.pt") for name in ("1-labels", "3-round_2"))
    torch.testing.assert_close(start["classifier.weight"], last["classifier.weight"], atol=1e-6, rtol=0)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/last.pt")}
    assert len(written) == 3
    train(config)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/last.pt")} == written


def test_st_plus_plus_judges_images_by_three_snapshots_of_its_teacher(tmp_path: Path) -> None:
    train(tiny_config(tmp_path, "algorithm=st_plus_plus", "steps=6", "evaluate_every=6"))
    labels, reliable = tmp_path / "1-labels", tmp_path / "2-reliable_images"
    teachers = weights(reliable / "last.pt", "algorithm")
    for number, step in enumerate((2, 4, 6)):
        snapshot = torch.load(labels / f"snapshot-{number + 1}.pt", weights_only=True)
        assert snapshot["step"] == step
        assert torch.equal(
            teachers[f"teacher.networks.{number}.classifier.weight"], snapshot["model"]["classifier.weight"]
        )
    assert read_log(tmp_path / "3-all_images")[0]["train/coverage"] == 1


def refinements(tmp_path: Path, choice: str) -> list[str]:
    train(tiny_config(tmp_path, f"algorithm={choice}", "steps=2", "evaluate_every=2"))
    return sorted(path.name for path in tmp_path.iterdir() if path.is_dir())


def test_gist_trains_both_ways_and_goes_on_from_the_better(tmp_path: Path) -> None:
    names = refinements(tmp_path, "gist")
    pairs = [f"{number}-{name}" for number in (3, 4, 5) for name in ("labels", "pseudo_labels")]
    assert names == ["1-labels", "2-pseudo_labels", *pairs]

    def score(name: str) -> float:
        return float(json.loads((tmp_path / name / "result.json").read_text())["last"]["miou"])

    for number in (3, 4):
        better = max(pairs[2 * (number - 3) : 2 * (number - 2)], key=score)
        start = json.loads((tmp_path / f"{number + 1}-labels" / "config.json").read_text())["init_from"]
        assert Path(start).parent.name == better


def test_rist_draws_one_way_by_the_seed(tmp_path: Path) -> None:
    names = refinements(tmp_path / "a", "rist")
    assert [name[0] for name in names] == ["1", "2", "3", "4", "5"]
    assert refinements(tmp_path / "b", "rist") == names


def test_faults_of_every_stage_are_listed_before_anything_runs(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, "algorithm=self_training")
    config["stages"][1] = {"round_1": {"steps": 0}}
    config["stages"][2] = {"round_2": {"sede": 1}}
    config["stage_choice"] = "worst"
    with pytest.raises(ConfigError) as caught:
        train(config)
    text = str(caught.value)
    assert "stage_choice: got 'worst', expected one of best, random" in text
    assert "stages.1.round_1: steps: got 0" in text
    assert "stages.2.round_2: sede: no such setting" in text
    assert not list(tmp_path.iterdir())


def test_the_first_stage_has_none_before_it(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, "algorithm=self_training")
    del config["stages"][0]
    with pytest.raises(ConfigError, match=r"stages.0.round_1: got 'previous', but there is no stage before the first"):
        stages_of(config)
