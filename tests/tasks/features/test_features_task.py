"""FeatureTask: nothing is bound to images; views, figures, runs of every kind of algorithm and of a user's table."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from residual_ssl import TrustedMask, compose, train
from residual_ssl.config.components import build
from residual_ssl.engine.records.trained import load_run
from residual_ssl.errors import ConfigError, InvalidInputError, ResidualSSLError
from residual_ssl.task import Task
from residual_ssl.testing import TaskContract

FAST = ("device=cpu", "steps=4", "warmup_steps=1", "evaluate_every=4", "log_every=1", "unlabelled_batch=8")


def config(run_dir: Path, *overrides: str, experiment: str = "digit_rows") -> dict[str, Any]:
    return compose([f"experiment={experiment}", f"run_dir={run_dir}", *FAST, *overrides])


class TestFeatureTaskContract(TaskContract):
    @pytest.fixture
    def task(self, tmp_path: Path) -> Task:
        made: Task = build(config(tmp_path)["task"], "task")
        return made

    @pytest.mark.parametrize("kind", ["labelled", "unlabelled"])
    def test_a_sample_follows_from_seed_index_and_draw(self, task: Task, kind: str) -> None:
        first, other = (getattr(task, kind)(seed) for seed in (3, 4))
        assert torch.equal(first[1, 5]["input"], other[1, 9]["input"]), "rows have no weak augmentation"
        assert not torch.equal(first[1, 5]["input"], first[2, 5]["input"])


def test_a_row_is_one_channel_of_features_and_views_disturb_it_as_their_names_say(tmp_path: Path) -> None:
    task = build(config(tmp_path)["task"], "task")
    sample = task.labelled(0)[3, 0]
    assert (sample["input"].shape, sample["target"].shape) == ((1, 64), ())
    inputs = torch.stack([task.unlabelled(0)[i, 0]["input"] for i in range(50)])
    torch.testing.assert_close(task.view(inputs, "plain"), inputs)
    torch.testing.assert_close(task.view(inputs, "labelled"), inputs)
    changed = {kind: ((task.view(inputs, kind) == 0) & (inputs != 0)).sum() for kind in ("light", "strong")}
    there = (inputs != 0).sum()
    assert (changed["light"] / there).item() == pytest.approx(0.1, abs=0.03)
    assert (changed["strong"] / there).item() == pytest.approx(0.5, abs=0.03)
    with pytest.raises(InvalidInputError, match=r"^view: got 'weak'"):
        task.view(inputs, "weak")


def test_a_trusted_row_is_hidden_in_blocks_of_features(tmp_path: Path) -> None:
    task = build(config(tmp_path)["task"], "task")
    x = torch.ones(2, *task.example().shape)
    shown, mask = TrustedMask(ratio=0.5, block=16, probability=1.0)(x, torch.tensor([True, False]))
    assert mask.shape == (2, 64)
    assert not mask[1].any()
    assert all(len(block.unique()) == 1 for block in mask[0].split(16))
    assert (shown[:, 0] == 0).equal(mask)


@pytest.mark.parametrize("algorithm", ["supervised", "csl", "unimatch", "unimatch_v2", "mean_teacher", "cps"])
def test_every_kind_of_algorithm_runs_on_rows(algorithm: str, tmp_path: Path) -> None:
    result = train(config(tmp_path, f"algorithm={algorithm}", "model.hidden=[16]"))
    assert 0 <= result.last["accuracy"] <= 100
    assert "recall/3" in result.last


@pytest.mark.parametrize("hidden", ["[32]", "[]"], ids=["MLP", "linear"])
def test_texts_train_as_tf_idf(hidden: str, tmp_path: Path) -> None:
    longer = ("steps=80", "evaluate_every=80", "labelled_batch=16", "unlabelled_batch=16", f"model.hidden={hidden}")
    result = train(config(tmp_path, "algorithm=fixmatch", *longer, experiment="texts"))
    assert result.last["accuracy"] > 45  # chance is 20


def test_a_trained_run_predicts_without_its_data(tmp_path: Path) -> None:
    train(config(tmp_path / "run", "algorithm=supervised"))
    run = load_run(tmp_path / "run", checkpoint_name="last.pt", device="cpu")
    assert "source" not in vars(run.task), "the data was read"
    assert run.task.predict(run.model, torch.zeros(3, 1, 64)).shape == (3, 10)


def test_a_table_of_ones_own_trains(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for part, count, labels in (("train", 60, 10), ("validation", 20, 20)):
        x = rng.normal(size=(count, 2))
        named = np.where(x[:, 0] + x[:, 1] > 0, "up", "down")
        named[labels:] = ""
        lines = [f"{a},{b},{name}" for (a, b), name in zip(x, named, strict=True)]
        (tmp_path / f"{part}.csv").write_text("\n".join(["a,b,label", *lines]) + "\n")
    files = f"{{train: {tmp_path / 'train.csv'}, validation: {tmp_path / 'validation.csv'}}}"
    own = [f"dataset.data_files={files}", "dataset.columns=[a,b]", "dataset.classes=[down,up]"]
    settings = ["dataset=table", "algorithm=csl", f"run_dir={tmp_path / 'run'}", *FAST, *own]
    result = train(compose([*settings, "dataset.num_features=2", "steps=60", "evaluate_every=60"]))
    assert result.last["accuracy"] > 75
    with pytest.raises(ConfigError, match=r"num_features: got 3, and the rows have 2 features; set dataset.num_"):
        train(compose([*settings, "dataset.num_features=3", f"run_dir={tmp_path / 'other'}"]))


def test_files_are_not_read_as_rows(tmp_path: Path) -> None:
    task = build(config(tmp_path)["task"], "task")
    with pytest.raises(ResidualSSLError, match="FeatureTask reads no files"):
        task.read(tmp_path / "photo.jpg")
